"""Bytes that only this service could have written: what somebody else put into Redis is a miss."""

import hashlib
from functools import lru_cache
from hmac import compare_digest
from typing import Any, Final

from django.conf import settings

from bandstand.cache import values

__all__ = ["open_sealed", "seal"]

_MARK: Final = b"\x01"
_SIZE: Final = 12  # bytes: the chance to guess one is 1 to 2**96


def seal(key: str, value: Any) -> bytes | int:
    """Return what is stored for ``value`` under ``key``.

    A plain int is stored as it is, so that Redis can count; everything else with a keyed digest over key and value, so
    that a value neither can be made up nor moved to another key without ``SECRET_KEY``.

    Raises:
        TypeError: the value is not data.
    """
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    body = values.encode(value)
    return _MARK + _digest(key, body) + body


def open_sealed(key: str, stored: bytes) -> Any:
    """Return the value.

    Raises:
        ValueError: it was not stored by this service under this key, or not since ``SECRET_KEY`` is what it is.
    """
    if stored[:1] != _MARK:
        return int(stored)
    body = stored[1 + _SIZE :]
    if not compare_digest(stored[1 : 1 + _SIZE], _digest(key, body)):
        raise ValueError("the seal is broken")
    return values.decode(body)


def _digest(key: str, body: bytes) -> bytes:
    digest = hashlib.blake2b(
        key.encode(), digest_size=_SIZE, key=_secret(settings.SECRET_KEY), person=b"bandstand.cache"
    )
    digest.update(b"\0")
    digest.update(body)
    return digest.digest()


@lru_cache(maxsize=4)
def _secret(secret_key: str | bytes) -> bytes:
    raw = secret_key.encode() if isinstance(secret_key, str) else secret_key
    return hashlib.blake2b(raw, digest_size=32, person=b"bandstand.secret").digest()
