"""Verifiers of passwords, as PostgreSQL itself would make them."""

from base64 import b64decode

import pytest

from bandstand.workspace.runtime.servers.scram import scram_verifier

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_the_example_of_rfc_7677() -> None:
    """Password and salt of the RFC, whose exchange of messages these two keys give."""
    assert scram_verifier("pencil", SALT) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


@pytest.mark.parametrize(
    ("written", "same"), [("I\u00adX", "IX"), ("\u2168", "IX"), ("\u00aa", "a"), ("a\u00a0b", "a b")]
)
def test_a_password_is_prepared(written: str, same: str) -> None:
    """The examples of RFC 4013: what looks or means the same is the same."""
    assert scram_verifier(written, SALT) == scram_verifier(same, SALT)


def test_an_empty_password_lets_nobody_in() -> None:
    """It would be a role that looks as if it had one."""
    with pytest.raises(ValueError, match="empty"):
        scram_verifier("", SALT)
