"""Signed tokens: how they are made, and all that is checked before one is believed.

The checks follow RFC 8725 (JSON Web Token Best Current Practices): one algorithm, fixed by us and never by the token;
explicit types, so that a token of one kind is never taken for another; issuer, audience and times always present; no
header that names a key by address (``jku``, ``x5u``, ``jwk``) is followed, or even allowed.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from threading import Lock
from typing import Annotated, Any, Final, Generic, NamedTuple, NoReturn, Protocol, TypeVar

import jwt
import msgspec
from jwt.exceptions import InvalidSignatureError, PyJWTError

from bandstand.context import counter
from bandstand.exceptions import InvalidToken
from bandstand.identity.keys import KEY_ID, PrivateKey, PublicKey

__all__ = ["Claims", "KeySet", "TokenKind", "Verifier", "new_token_id", "sign"]

ALGORITHM: Final = "EdDSA"
MAX_LENGTH: Final = 8192
"""Characters: no token of ours comes near it, and nothing longer is even decoded."""

_JWS: Final = jwt.PyJWS(algorithms=[ALGORITHM])
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADERS: Final = frozenset({"alg", "typ", "kid"})

_logger: Final = logging.getLogger("bandstand.identity")
_refused: Final = counter(
    "bandstand_tokens_refused_total", "Tokens that were refused, by kind of token and reason.", ("kind", "reason")
)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
TokenId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~-]{8,128}\Z")]
Timestamp = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What every token says: who made it, for whom, and when (seconds since the epoch)."""

    iss: Name
    aud: Name
    iat: Timestamp
    exp: Timestamp
    jti: TokenId
    nbf: Timestamp | None = None


C = TypeVar("C", bound=Claims)


class KeySet(Protocol):
    """Where a verifier looks keys up."""

    def find(self, kid: str) -> PublicKey | None:
        """Return the key with that id, or None."""


class TokenKind(NamedTuple):
    """What tells one kind of token from another.

    ``overdue`` is the reason word for a token that is over. ``max_lifetime`` is in seconds.
    """

    name: str
    typ: str
    max_lifetime: int
    overdue: str


def sign(key: PrivateKey, kind: TokenKind, claims: dict[str, Any]) -> str:
    """Return a signed token of ``kind`` that says ``claims``."""
    header = {"typ": kind.typ, "kid": key.kid}
    return _JWS.encode(msgspec.json.encode(claims), key.signing(), algorithm=ALGORITHM, headers=header)


def new_token_id() -> str:
    """Return a fresh value for ``jti``: 128 random bits."""
    return secrets.token_hex(16)


class _Verified(NamedTuple, Generic[C]):
    claims: C
    key: PublicKey


class Verifier(Generic[C]):
    """Believes tokens of one kind that are signed by a key of ``keys`` and made for ``audience``.

    ``issuer`` says which ``iss`` a key may sign for. ``read`` turns the payload into claims and raises
    msgspec.ValidationError. What was verified is remembered until it expires, for at most ``capacity`` tokens, and
    only for as long as ``keys`` still holds its key: a revoked key is refused at once.
    """

    def __init__(
        self,
        kind: TokenKind,
        *,
        keys: KeySet,
        audience: str,
        issuer: Callable[[PublicKey], str],
        read: Callable[[bytes], C],
        leeway: int,
        clock: Callable[[], float] = time.time,
        capacity: int = 4096,
    ) -> None:
        self._kind = kind
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._read = read
        self._leeway = leeway
        self._clock = clock
        self._capacity = capacity
        self._verified: dict[str, _Verified[C]] = {}
        self._lock = Lock()

    def verify(self, token: str) -> C:
        """Return what ``token`` says.

        Raises:
            InvalidToken: with the reason in one word; it was counted and logged.
            KeySetUnavailable: no key set could be had yet.
        """
        known = self._verified.get(token)
        if known is not None and self._is_current(known):
            return known.claims
        key = self._key(token)
        claims = self._claims(token, key)
        self._check_parties(claims, key)
        self._check_times(claims)
        self._remember(token, _Verified(claims, key))
        return claims

    def refuse(self, reason: str, *, signer: str = "") -> NoReturn:
        """Count, log and raise a refusal. ``signer`` is the service whose key signed the token, once that is certain.

        Raises:
            InvalidToken: always.
        """
        _refused.labels(self._kind.name, reason).inc()
        _logger.warning("Refused a %s token: %s", self._kind.name, reason, extra={"reason": reason, "signer": signer})
        raise InvalidToken(reason)

    def _is_current(self, known: _Verified[C]) -> bool:
        now = self._clock()
        fresh = known.claims.iat - self._leeway <= now < known.claims.exp
        return fresh and self._keys.find(known.key.kid) == known.key

    def _key(self, token: str) -> PublicKey:
        header = self._header(token)
        if header.get("alg") != ALGORITHM:
            self.refuse("algorithm")
        if header.get("typ") != self._kind.typ:
            self.refuse("type")
        if not header.keys() <= _HEADERS:
            self.refuse("header")
        kid = header.get("kid")
        key = self._keys.find(kid) if isinstance(kid, str) and KEY_ID.fullmatch(kid) else None
        return key or self.refuse("key")

    def _header(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_LENGTH or not _COMPACT.fullmatch(token):
            self.refuse("malformed")
        try:
            return _JWS.get_unverified_header(token)
        except PyJWTError:
            self.refuse("malformed")

    def _claims(self, token: str, key: PublicKey) -> C:
        try:
            return self._read(_JWS.decode(token, key.verifying(), algorithms=[ALGORITHM]))
        except InvalidSignatureError:
            self.refuse("signature")
        except (PyJWTError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            self.refuse("claims")

    def _check_parties(self, claims: C, key: PublicKey) -> None:
        if claims.iss != self._issuer(key):
            self.refuse("issuer", signer=key.service)
        if claims.aud != self._audience:
            self.refuse("audience", signer=key.service)

    def _check_times(self, claims: C) -> None:
        now = self._clock()
        if max(claims.iat, claims.nbf or 0) > now + self._leeway:
            self.refuse("clock", signer=claims.iss)
        if claims.exp <= now - self._leeway:
            self.refuse(self._kind.overdue, signer=claims.iss)
        if not 0 < claims.exp - claims.iat <= self._kind.max_lifetime:
            self.refuse("lifetime", signer=claims.iss)

    def _remember(self, token: str, verified: _Verified[C]) -> None:
        with self._lock:
            if len(self._verified) >= self._capacity:
                self._make_room()
            self._verified[token] = verified

    def _make_room(self) -> None:
        """Drop what has expired; where that is not enough, the older half."""
        now = self._clock()
        current = [(token, known) for token, known in self._verified.items() if known.claims.exp > now]
        if len(current) > self._capacity // 2:
            current = current[-(self._capacity // 2) :]
        self._verified = dict(current)
