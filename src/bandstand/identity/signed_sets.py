"""The key set of user tokens, signed by the service that issues them.

Discovery finds the issuer, and whoever can write to the registry can name another address. So a fetched set is trusted
only for the signature of the issuer's service key, which every service has in a file.
"""

import hashlib
import time
from operator import attrgetter
from typing import Any, Final

import msgspec

from bandstand.conf import get_settings, wire
from bandstand.exceptions import InvalidToken
from bandstand.identity.keyring import kept, key_files, service_keys, trusted_keys
from bandstand.identity.tokens import Claims, TokenKind, Verifier, new_token_id, sign
from bandstand.structs import build_type

__all__ = ["signed", "verify_signed"]

KEY_SET: Final = TokenKind(name="key_set", typ="key-set+jwt", max_lifetime=600, overdue="expired")
_LIFETIME: Final = 600  # seconds in which an older set could be shown again
_MEMBER: Final = "signature"


class _Claims(Claims, frozen=True, kw_only=True):
    """``keys`` is the digest of the keys."""

    keys: str


build_type(_Claims)


def signed(document: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """Return the JWKS with one more member, which readers that do not know it ignore (RFC 7517, section 5).

    A service without a key of its own can't sign, so nobody who fetches its set over the network accepts it.
    """
    if wire.SERVICE_KEY_FILE not in key_files():
        return dict(document)
    settings, now = get_settings(), int(time.time())
    claims = {
        "iss": settings.service,
        "aud": settings.platform,
        "iat": now,
        "exp": now + _LIFETIME,
        "jti": new_token_id(),
        "keys": _digest(document["keys"]),
    }
    return {**document, _MEMBER: sign(service_keys().get().current, KEY_SET, claims)}


def verify_signed(content: bytes, issuer: str) -> None:
    """Verify that the JWKS was signed by the service ``issuer``, and not long ago.

    Raises:
        ValueError: it is not; the text says what is wrong, and begins with a verb.
    """
    try:
        document = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"is no JSON object: {error}") from error
    signature = document.get(_MEMBER)
    if not isinstance(signature, str):
        raise ValueError(f"is not signed; only the keys that {issuer} signs with its service key are believed")
    try:
        claims = _verifier().verify(signature)
    except InvalidToken as error:
        raise ValueError(
            f"has a signature that is refused ({error}); {issuer} has to sign with its service key"
        ) from error
    if claims.iss != issuer:
        raise ValueError(f"is signed by {claims.iss}, not by {issuer}")
    if claims.keys != _digest(document.get("keys")):
        raise ValueError("holds other keys than those that were signed")


@kept
def _verifier() -> Verifier[_Claims]:
    settings = get_settings()
    return Verifier(
        KEY_SET,
        keys=trusted_keys(),
        audience=settings.platform,
        issuer=attrgetter("service"),
        read=msgspec.json.Decoder(_Claims).decode,
        leeway=settings.identity.leeway,
        capacity=16,
    )


def _digest(keys: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(keys, order="sorted")).hexdigest()
