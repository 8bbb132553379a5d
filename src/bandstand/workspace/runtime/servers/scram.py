"""SCRAM-SHA-256 verifiers, with which PostgreSQL checks a password that it was never sent.

A statement with a password in it may end up in the server's log, in ``pg_stat_activity`` and in what watches both.
"""

import hashlib
import hmac
import stringprep
import unicodedata
from base64 import b64encode
from typing import Final

__all__ = ["scram_verifier"]

_ITERATIONS: Final = 4096  # PostgreSQL's own, and the least that RFC 7677 allows


def scram_verifier(password: str, salt: bytes) -> str:
    """Return what ``ALTER ROLE … PASSWORD`` takes in place of ``password`` (RFC 5802, RFC 7677).

    Raises:
        ValueError: the password is empty, with which PostgreSQL lets nobody in.
    """
    if not password:
        raise ValueError("a password is empty")
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password).encode(), salt, _ITERATIONS)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    keys = f"{_base64(stored_key)}:{_base64(_hmac(salted, b'Server Key'))}"
    return f"SCRAM-SHA-256${_ITERATIONS}:{_base64(salt)}${keys}"


def _prepared(password: str) -> str:
    """Return the password as SASLprep has it (RFC 4013), or unchanged where that forbids it, as libpq does."""
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter for letter in password if not stringprep.in_table_b1(letter)
    )
    normalized = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    return normalized if normalized and not any(map(_is_prohibited, normalized)) else password


def _is_prohibited(letter: str) -> bool:
    tables = (stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4, stringprep.in_table_c5)
    more = (stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9)
    return any(table(letter) for table in (*tables, *more, stringprep.in_table_a1))


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
