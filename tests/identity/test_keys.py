import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.conf import wire
from bandstand.identity import generate_key, key_set
from bandstand.identity.keys import parse_private_keys, parse_public_keys

KEY = generate_key("order-service")
OTHER = generate_key("user-service")
# RFC 8037, appendix A: the key of the examples, and its thumbprint.
RFC_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
}


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_a_key_survives_its_file() -> None:
    """What is written as a JWK is read as the same key, alone or in a set."""
    assert parse_private_keys(dump(KEY.to_jwk())) == (KEY,)
    assert parse_private_keys(dump({"keys": [KEY.to_jwk(), OTHER.to_jwk()]})) == (KEY, OTHER)
    assert parse_public_keys(dump(key_set([KEY.public, OTHER.public]))) == {
        KEY.kid: KEY.public,
        OTHER.kid: OTHER.public,
    }


def test_the_example_of_the_standard_is_read() -> None:
    """The key of RFC 8037 is read, and the ids of our keys are made as its thumbprint is."""
    (key,) = parse_private_keys(dump(RFC_KEY))
    assert key.public.x == RFC_KEY["x"]
    made = generate_key("a", kid_prefix=wire.DEVELOPMENT_MARK)
    assert made.is_for_development
    assert len(made.kid.removeprefix(wire.DEVELOPMENT_MARK)) == len(RFC_KEY["kid"])


def test_no_secret_is_shown() -> None:
    """Neither repr nor a published set holds the private half."""
    assert KEY.d not in repr(KEY)
    assert KEY.d not in f"{[KEY]}"
    assert "d" not in KEY.public.to_jwk()


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "is not a JSON Web Key or key set"),
        ({"keys": "x"}, "is not a JSON Web Key or key set"),
        ({"keys": []}, "holds no key"),
        ({"kid": "a"}, "32 bytes"),
        (KEY.public.to_jwk(), "not a private Ed25519 key"),
        ({**KEY.to_jwk(), "kty": "RSA"}, "not a private Ed25519 key"),
        ({**KEY.to_jwk(), "d": OTHER.d}, "not the public half"),
        ({**KEY.to_jwk(), "d": "AAAA"}, "32 bytes"),
        ({**KEY.to_jwk(), "x": "!" * 43}, "32 bytes"),
        ({**KEY.to_jwk(), "kid": "../x"}, "whose kid"),
        ({"keys": [KEY.to_jwk(), {**OTHER.to_jwk(), "kid": KEY.kid}]}, "two keys with the id"),
        ({"keys": [{}] * 1001}, "at most 1000"),
    ],
)
def test_a_wrong_private_key_is_told(document: Any, fault: str) -> None:
    """Each fault of a private key file is named, and no secret with it."""
    with pytest.raises(ValueError, match=fault) as error:
        parse_private_keys(dump(document))
    assert KEY.d not in str(error.value)


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"keys": [KEY.to_jwk()]}, "private key"),
        ({"keys": [{**KEY.public.to_jwk(), "service": ""}]}, "without the member service"),
        ({"keys": [KEY.public.to_jwk(), KEY.public.to_jwk()]}, "two keys with the id"),
        ({"keys": [{"kty": "RSA", "kid": "a"}]}, "no Ed25519 key"),
        ({"keys": [{**KEY.public.to_jwk(), "x": "AAAA"}]}, "32 bytes"),
    ],
)
def test_a_wrong_key_set_is_told(document: Any, fault: str) -> None:
    """Each fault of a set of trusted keys is named; a private key among them is one."""
    with pytest.raises(ValueError, match=fault) as error:
        parse_public_keys(dump(document), service_required=True)
    assert KEY.d not in str(error.value)


def test_keys_of_other_kinds_are_passed_over() -> None:
    """A published set may hold keys that are not for us (RFC 7517, section 5)."""
    document = {"keys": [{"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"}, KEY.public.to_jwk()]}
    assert list(parse_public_keys(dump(document))) == [KEY.kid]


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused_with_a_text(content: bytes) -> None:
    """No file content raises anything but a ValueError."""
    for parse in (parse_private_keys, parse_public_keys):
        with pytest.raises(ValueError, match=r"^(is not|holds)"):
            parse(content)


def test_a_deep_document_is_refused() -> None:
    """Nesting that would exhaust the stack is a fault of the file."""
    with pytest.raises(ValueError, match="is not a JSON Web Key"):
        parse_public_keys(b"[" * 100_000)
