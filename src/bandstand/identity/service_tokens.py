"""Which service is asking: tokens of at most a minute, signed by the caller for one callee."""

import time
from collections.abc import Callable
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from bandstand.conf import get_settings
from bandstand.identity.keyring import kept, service_keys, trusted_keys
from bandstand.identity.keys import PrivateKey
from bandstand.identity.tokens import Claims, TokenKind, Verifier, new_token_id, sign

__all__ = ["SERVICE_TOKEN", "ServiceTokens", "service_token", "service_verifier", "verify_service_token"]

# A caller renews a token at half of its life, so one that arrives too late tells of clocks that disagree, or of a copy.
SERVICE_TOKEN: Final = TokenKind(name="service", typ="service+jwt", max_lifetime=60, overdue="clock")


class _Issued(NamedTuple):
    token: str
    kid: str
    issued_at: int
    renew_at: float


class ServiceTokens:
    """Signs tokens as ``service`` and keeps one for each audience until half of its ``lifetime`` (seconds) is over."""

    def __init__(
        self,
        service: str,
        key: Callable[[], PrivateKey],
        *,
        lifetime: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._key = key
        self._lifetime = lifetime
        self._clock = clock
        self._issued: dict[str, _Issued] = {}

    def token(self, audience: str, *, fresh: bool = False) -> str:
        """Return a token for ``audience``; with ``fresh`` one that was never returned before."""
        key, now = self._key(), self._clock()
        if fresh:
            return self._sign(key, audience, int(now))
        issued = self._issued.get(audience)
        # Also renewed when the clock was set back, or the key has changed.
        if issued is None or not issued.issued_at <= now < issued.renew_at or issued.kid != key.kid:
            token = self._sign(key, audience, int(now))
            issued = self._issued[audience] = _Issued(token, key.kid, int(now), int(now) + self._lifetime / 2)
        return issued.token

    def _sign(self, key: PrivateKey, audience: str, now: int) -> str:
        times = {"iat": now, "exp": now + self._lifetime}
        return sign(key, SERVICE_TOKEN, {"iss": self._service, "aud": audience, **times, "jti": new_token_id()})


@kept
def _service_tokens() -> ServiceTokens:
    settings, file = get_settings(), service_keys()
    return ServiceTokens(
        settings.service, lambda: file.get().current, lifetime=settings.identity.service_token_lifetime
    )


@kept
def service_verifier() -> Verifier[Claims]:
    """Return the verifier of the tokens that other services made for this one."""
    settings = get_settings()
    return Verifier(
        SERVICE_TOKEN,
        keys=trusted_keys(),
        audience=settings.service,
        issuer=attrgetter("service"),
        read=msgspec.json.Decoder(Claims).decode,
        leeway=settings.identity.leeway,
    )


def service_token(audience: str, *, fresh: bool = False) -> str:
    """Return a token with which this service calls ``audience``, for the header ``X-Service-Token``.

    It is the same token until half of its life is over. A callee that denies replay believes a token once on an
    unsafe method: ask for a ``fresh`` one for each such try.

    Raises:
        ConfigurationError: this service has no key.
    """
    return _service_tokens().token(audience, fresh=fresh)


def verify_service_token(token: str) -> Claims:
    """Return what ``token`` says; ``iss`` is the calling service. Whether it may call is for the caller to decide.

    Raises:
        InvalidToken: with the reason in one word.
    """
    return service_verifier().verify(token)
