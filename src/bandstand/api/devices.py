"""Known devices: those from which somebody has signed in to an account before.

A stranger who tries passwords uses up the tries on an account, and must not lock its owner out. So whoever signs in is
given a token for the device, and a sign-in with it is counted in a bucket of its own. The token is signed, is valid for
one account, and grants nothing but the separate count; it is checked without a look-up of the account. After "Device
Cookies" (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
"""

import secrets
from typing import Final

import msgspec
from django.core import signing

from bandstand.structs import build_type

__all__ = ["LIFETIME", "device_token", "known_device"]

LIFETIME: Final = 90 * 24 * 3600  # seconds since the last sign-in from the device

_SALT: Final = "bandstand.api.devices"
_MAX_LENGTH: Final = 512  # characters; a token has about 150


class _Device(msgspec.Struct, frozen=True):
    account: str
    device: str


build_type(_Device)


def device_token(account: str, device: str | None = None) -> str:
    """Return the token of ``device``, a new one unless it is known, for ``account`` (a digest)."""
    known = {"account": account, "device": device or secrets.token_hex(16)}
    return signing.dumps(known, salt=_SALT)


def known_device(account: str, token: object) -> str | None:
    """Return the device that ``token`` was issued to for ``account``; None if it is no valid token for it."""
    if not isinstance(token, str) or not 0 < len(token) <= _MAX_LENGTH:
        return None
    try:
        known = msgspec.convert(signing.loads(token, salt=_SALT, max_age=LIFETIME), _Device)
    except (signing.BadSignature, msgspec.ValidationError, ValueError):
        return None
    return known.device if known.account == account else None
