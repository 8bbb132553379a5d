"""For whom it is asked: tokens that the user service signs and every service verifies by itself."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from bandstand.conf import get_settings
from bandstand.identity.keyring import kept, own_user_keys, user_key
from bandstand.identity.keys import PublicKey, key_set
from bandstand.identity.signed_sets import signed
from bandstand.identity.tokens import Claims, TokenKind, Verifier, new_token_id, sign
from bandstand.identity.user_keys import user_keys
from bandstand.structs import build_type

__all__ = [
    "USER_TOKEN",
    "UserClaims",
    "issue_user_token",
    "jwks",
    "jwks_view",
    "read_user_claims",
    "user_verifier",
    "verify_user_token",
]

# The type of RFC 9068, so that gateways know it too.
USER_TOKEN: Final = TokenKind(name="user", typ="at+jwt", max_lifetime=24 * 3600, overdue="expired")

_KEY_SET_MAX_AGE: Final = 30  # seconds that others may keep the key set


class UserClaims(Claims, frozen=True, kw_only=True):
    """What a user token says: ``sub`` is the user's id; ``extra`` holds the claims that have no field here."""

    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    staff: bool
    email: str | None = None
    extra: Mapping[str, Any] = {}


build_type(UserClaims)

_NAMED: Final = frozenset(UserClaims.__struct_fields__) - {"extra"}


def issue_user_token(user_id: str | UUID, *, staff: bool, **claims: Any) -> str:
    """Return a token for the user; ``claims`` that are None are left out, ``email`` is the one that has a field.

    It can't be taken back before it expires, after ``BANDSTAND["IDENTITY"]["USER_TOKEN_LIFETIME"]`` seconds.

    Raises:
        ConfigurationError: this service has no key for user tokens.
        ValueError: a claim is one that only this function sets.
    """
    reserved = claims.keys() & (_NAMED - {"email"})
    if reserved:
        raise ValueError(f"These claims can't be given: {', '.join(sorted(reserved))}. Choose other names.")
    settings, now = get_settings(), int(time.time())
    fixed = {
        "iss": settings.identity.user_issuer,
        "aud": settings.platform,
        "sub": str(user_id),
        "iat": now,
        "exp": now + settings.identity.user_token_lifetime,
        "jti": new_token_id(),
        "staff": staff,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    return sign(user_key(), USER_TOKEN, {**given, **fixed})


def verify_user_token(token: str) -> UserClaims:
    """Return what ``token`` says.

    Raises:
        InvalidToken: with the reason in one word, which is not for the caller.
        KeySetUnavailable: the keys could not be fetched since this process started.
    """
    return user_verifier().verify(token)


@kept
def user_verifier() -> Verifier[UserClaims]:
    """Return the verifier of this platform's user tokens."""
    settings = get_settings()
    identity = settings.identity

    def issuer(_: PublicKey) -> str:
        return identity.user_issuer

    return Verifier(
        USER_TOKEN,
        keys=user_keys(),
        audience=settings.platform,
        issuer=issuer,
        read=read_user_claims,
        leeway=identity.leeway,
    )


def read_user_claims(payload: bytes) -> UserClaims:
    """Read the payload of a user token.

    Raises:
        msgspec.ValidationError: a claim is missing or has the wrong type.
    """
    document = msgspec.json.decode(payload, type=dict[str, Any])
    named = {name: document.pop(name) for name in _NAMED & document.keys()}
    claims = msgspec.convert(named, UserClaims)
    # Verified claims are shared by all requests with the same token, so nobody may change them.
    return msgspec.structs.replace(claims, extra=MappingProxyType(document))


def jwks() -> dict[str, list[dict[str, str]]]:
    """Return the public keys of user tokens as a JWKS.

    Raises:
        ConfigurationError: this service does not issue user tokens.
    """
    return key_set(own_user_keys())


@require_safe
def jwks_view(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django calls it with the request
    """Answer ``/.well-known/jwks.json``, signed by this service; the one that issues user tokens mounts it."""
    headers = {"Cache-Control": f"public, max-age={_KEY_SET_MAX_AGE}"}
    return HttpResponse(msgspec.json.encode(signed(jwks())), content_type="application/jwk-set+json", headers=headers)
