"""Limits on how often one client may ask. Counted in the cache by atomic operations, so they hold for all processes.

A limit on reading opens when the cache is down: the gateway's own limits stand. A limit on signing in closes, since
guessing passwords must never be free.
"""

import hashlib
import logging
import math
import re
import time
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

from bandstand.api.devices import device_token, known_device
from bandstand.conf import get_settings, wire
from bandstand.context import client_network, current

if TYPE_CHECKING:
    # Views import the classes that REST framework's settings name, these among them.
    from rest_framework.views import APIView

__all__ = ["AccountThrottle", "AddressThrottle", "ClientThrottle", "LoginThrottle", "Rate", "ThrottleUnavailable"]

_log: Final = logging.getLogger("bandstand.api.throttles")
_RATE: Final = re.compile(r"([1-9][0-9]*)/([1-9][0-9]*)?(s|sec|min|m|h|hour|d|day)")
_SECONDS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}


class ThrottleUnavailable(APIException):
    """It is not known how often the client has tried, so it may not try now."""

    status_code = 503
    default_code = "throttle_unavailable"
    default_detail = "Signing in is not possible at the moment. Try again soon."
    wait = 5


class Rate(msgspec.Struct, frozen=True):
    """``limit`` requests in ``period`` seconds, written ``1200/min`` or ``10/15min``."""

    limit: int
    period: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read a rate.

        Raises:
            ImproperlyConfigured: it is not written as a rate.
        """
        match = _RATE.fullmatch(text.replace(" ", ""))
        if match is None:
            raise ImproperlyConfigured(
                f"{text!r} is not a rate. Write the likes of 20/s, 1200/min, 10/15min or 5000/h."
            )
        return cls(int(match[1]), int(match[2] or 1) * _SECONDS[match[3]])


class CacheThrottle(BaseThrottle, ABC):
    """A throttle with a ``scope``, whose rate stands in ``DEFAULT_THROTTLE_RATES``; None there turns it off."""

    scope: ClassVar[str]

    def __init__(self) -> None:
        self._wait: float | None = None

    @abstractmethod
    def identify(self, request: Request) -> str | None:
        """Return whom the limit is for, or None for whom there is none."""

    @abstractmethod
    def count(self, key: str, rate: Rate, now: float) -> float | None:
        """Count one request; return None when it may pass, else the seconds to wait."""

    def allow_request(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - REST framework's signature
        """Count the request and say whether it may pass."""
        rate = self.rate()
        who = None if rate is None else self.identify(request)
        if rate is None or who is None:
            return True
        self._wait = self.count(f"throttle:{self.scope}:{_digest(who)}", rate, time.time())
        if self._wait is not None:
            request.rate_limit = _headers(self.scope, rate, self._wait)  # type: ignore[attr-defined] # for the answer
        return self._wait is None

    def wait(self) -> float | None:
        """Return the seconds after which it makes sense to ask again."""
        return self._wait

    def rate(self) -> Rate | None:
        """Return the rate of this scope; read at each request, so that tests and settings may change it."""
        rates: dict[str, Any] = api_settings.DEFAULT_THROTTLE_RATES
        text = rates.get(self.scope)
        return None if text is None else Rate.parse(text)


class WindowThrottle(CacheThrottle):
    """Counts by the sliding window counter: two fixed windows, the earlier one weighted by how much of it still counts.

    Two cache operations a request whatever the rate. After "How we built rate limiting capable of scaling to millions
    of domains" (Cloudflare, 2017).
    """

    def count(self, key: str, rate: Rate, now: float) -> float | None:
        """Count one request; lets it pass when the cache can't count."""
        window, elapsed = divmod(now, rate.period)
        try:
            used = _increment(f"{key}:{window:.0f}", 2 * rate.period)
            before = _cache().get(f"{key}:{window - 1:.0f}") or 0
        except Exception:  # noqa: BLE001 - each cache backend raises errors of its own when it is down
            used = None
        if used is None:
            _log.warning("The cache can't count requests; %s lets them pass", type(self).__name__)
            return None
        if used + before * (1 - elapsed / rate.period) <= rate.limit:
            return None
        return rate.period - elapsed if used > rate.limit else _until_room(rate, used, before, elapsed)


class SlotThrottle(CacheThrottle):
    """Never more than the limit in any period, however the tries fall: each takes one of ``limit`` slots for a period.

    For small limits: it costs up to ``limit`` cache operations. Refuses when the cache can't say.
    """

    def __init__(self) -> None:
        super().__init__()
        self._slot: str | None = None

    def count(self, key: str, rate: Rate, now: float) -> float | None:
        """Take a free slot.

        Raises:
            ThrottleUnavailable: the cache can't be asked.
        """
        cache = _cache()
        slots = [f"{key}:{number}" for number in range(rate.limit)]
        try:
            taken = cache.get_many(slots)
            free = (slot for slot in slots if slot not in taken)
            self._slot = next((slot for slot in free if cache.add(slot, now + rate.period, rate.period)), None)
            if self._slot is not None:
                return None
            ends = [end for end in (taken or cache.get_many(slots)).values() if isinstance(end, (int, float))]
        except Exception:  # noqa: BLE001 - each cache backend raises errors of its own when it is down
            _log.warning("The cache can't count; %s refuses", type(self).__name__)
            raise ThrottleUnavailable from None
        if not ends:
            raise ThrottleUnavailable
        return max(1.0, min(ends) - now)

    def give_back(self) -> None:
        """Make the slot free again that the last request took."""
        if self._slot is None:
            return
        try:
            _cache().delete(self._slot)
        except Exception:  # noqa: BLE001 - each cache backend raises errors of its own when it is down
            _log.warning("The cache can't forget; %s keeps the try counted", type(self).__name__)


class ClientThrottle(WindowThrottle):
    """Limits each verified user, else each address (``DEFAULT_THROTTLE_RATES["client"]``).

    The address is the peer's, or what a trusted proxy says of it, so a header of the client's own changes nothing. IPv6
    addresses are counted by their /64 network (:func:`bandstand.context.client_network`).
    A service with a verified token is not limited: how much it may ask is settled between the two.
    """

    scope = "client"

    def identify(self, request: Request) -> str | None:
        """Return the user or the address."""
        if user := _signed_in(request):
            return user
        return None if current().service else f"address:{client_network(request._request)}"  # noqa: SLF001 - the request that REST framework wraps


class AccountThrottle(SlotThrottle):
    """Limits tries on one account, whoever tries and from wherever (``DEFAULT_THROTTLE_RATES["login"]``).

    The account is the signed-in user, else what the body names in ``account_field``, in whatever spelling.
    """

    scope = "login"
    account_field: ClassVar[str] = "email"
    device: str | None = None
    """The known device of the account, if any; its tries are counted separately."""

    def identify(self, request: Request) -> str | None:
        """Return the account or the known device, or None when the body names none (the serializer will say so)."""
        if self.device is not None:
            return f"device:{self.device}"
        return _signed_in(request) or self.account_of(request)

    def account_of(self, request: Request) -> str | None:
        """Return the account that the body names, or None."""
        account = _field(request, self.account_field)
        return f"account:{_folded(account)}" if isinstance(account, str) and account.strip() else None


class AddressThrottle(WindowThrottle):
    """Limits tries from one address, on whichever accounts (``DEFAULT_THROTTLE_RATES["login-address"]``)."""

    scope = "login-address"
    is_known = False
    """True if a known device tries. Strangers behind the same address do not use up the tries of such devices."""

    def identify(self, request: Request) -> str | None:
        """Return the address."""
        kind = "known-address" if self.is_known else "address"
        return f"{kind}:{client_network(request._request)}"  # noqa: SLF001 - the request that REST framework wraps


class LoginThrottle(BaseThrottle):
    """Both limits on signing in: of the account (at most 10 in any 15 minutes) and of the address (100).

    The account's limit refuses with 503 when the cache is down. A subclass may name another ``account_field``. A view
    calls :meth:`forgive` where the password was right, so that only guesses count against the account, and gives the
    client :meth:`device_token` to bring along in ``device_field`` the next time. A device that does has both limits for
    itself, so that nobody else can lock the owner of the account out there.
    """

    account_field: ClassVar[str] = "email"
    device_field: ClassVar[str] = "device"

    def __init__(self) -> None:
        account, address = AccountThrottle(), AddressThrottle()
        account.account_field = self.account_field  # type: ignore[misc] # of this instance alone
        self.account = account
        self.address = address
        self._throttles: Sequence[CacheThrottle] = (address, account)

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the try; an address over its limit does not use up the tries of the accounts that it names."""
        request.login_throttle = self  # type: ignore[attr-defined] # ours to add, for forgive()
        account = self.account.account_of(request)
        # Who is signed in is counted as that user, whatever else the body names.
        if account is not None and _signed_in(request) is None:
            self.account.device = known_device(_digest(account), self.sent_device(request))
        self.address.is_known = self.account.device is not None
        return all(throttle.allow_request(request, view) for throttle in self._throttles)

    def sent_device(self, request: Request) -> object:
        """Return the device token in the body; None without one."""
        return _field(request, self.device_field)

    @staticmethod
    def device_token(request: Request) -> str:
        """Return a token for the device from which ``request`` has just signed in; it is good for 90 days.

        A known device keeps its identity. The token gives no access: do not accept it as proof of anything.

        Raises:
            ValueError: the request names no account, or no LoginThrottle has counted it.
        """
        throttle: LoginThrottle | None = getattr(request, "login_throttle", None)
        account = None if throttle is None else throttle.account.account_of(request)
        if throttle is None or account is None:
            raise ValueError("Only a request that LoginThrottle has counted for an account makes a device known.")
        return device_token(_digest(account), throttle.account.device)

    @staticmethod
    def forgive(request: Request) -> None:
        """Take back the try that ``request`` was: it succeeded, so it was no guess. The address's count stays."""
        throttle: LoginThrottle | None = getattr(request, "login_throttle", None)
        if throttle is not None:
            throttle.account.give_back()

    def wait(self) -> float | None:
        """Return the seconds after which it makes sense to try again."""
        return max((wait for throttle in self._throttles if (wait := throttle.wait()) is not None), default=None)


def _headers(scope: str, rate: Rate, wait: float) -> dict[str, str]:
    """What a client over its limit is told (draft-ietf-httpapi-ratelimit-headers-10)."""
    return {
        wire.RATE_LIMIT_POLICY: f'"{scope}";q={rate.limit};w={rate.period}',
        wire.RATE_LIMIT: f'"{scope}";r=0;t={math.ceil(wait)}',
    }


def _field(request: Request, name: str) -> object:
    data = request.data
    return data.get(name) if isinstance(data, dict) else None


def _signed_in(request: Request) -> str | None:
    user: Any = request.user  # None where a service is set to have no anonymous user
    return f"user:{user.pk}" if getattr(user, "is_authenticated", False) else None


def _cache() -> Any:
    return caches[get_settings().cache.alias]


def _increment(key: str, timeout: int) -> int | None:
    """Count up atomically; None when the cache keeps nothing."""
    cache = _cache()
    for _ in range(2):  # the key may be added by another between the two operations
        try:
            return int(cache.incr(key))
        except ValueError:
            if cache.add(key, 1, timeout):
                return 1
    return None


def _until_room(rate: Rate, used: int, before: int, elapsed: float) -> float:
    """Seconds until the earlier window counts for so little that one more fits."""
    share = max(0.0, (rate.limit - used) / before) if before else 1.0
    return max(1.0, math.ceil(rate.period * (1 - share) - elapsed))


def _folded(account: str) -> str:
    return unicodedata.normalize("NFKC", account).strip().casefold()


def _digest(text: str) -> str:
    """A short key that holds no address of anybody."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
