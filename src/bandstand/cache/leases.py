"""Leases: who computes a value for all. A lease ends by itself soon after its holder died.

A lease is a key with a random token and a short life, prolonged while the work lasts: ``SET NX PX`` with compare and
delete, after Redis' documentation of distributed locks. It saves work; where two at once would be wrong, use the
database.
"""

import logging
import math
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, cast

from bandstand.cache.backend import ResilientRedisCache

__all__ = ["LEASE", "Keeper", "Leases", "held", "leases_of"]

_log: Final = logging.getLogger("bandstand.cache")

LEASE: Final = 1.5  # seconds: how long others wait at most for a holder that was killed
_RENEWAL: Final = LEASE / 3


class Leases(Protocol):
    """What a cache must offer."""

    def acquire(self, key: str, token: str, seconds: float) -> bool | None:
        """Take the lease; None: it can't be known."""

    def renew(self, key: str, token: str, seconds: float) -> bool:
        """Prolong the lease; False: it is lost."""

    def release(self, key: str, token: str) -> bool:
        """Give the lease back; False: it was lost."""


class CacheLeases:
    """Leases on any of Django's caches. Comparing and deleting are two steps here: for one process, as in tests."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def acquire(self, key: str, token: str, seconds: float) -> bool | None:
        """Take the lease."""
        return bool(self._cache.add(key, token, math.ceil(seconds)))

    def renew(self, key: str, token: str, seconds: float) -> bool:
        """Prolong the lease."""
        return self._cache.get(key) == token and bool(self._cache.touch(key, math.ceil(seconds)))

    def release(self, key: str, token: str) -> bool:
        """Give the lease back."""
        return self._cache.get(key) == token and bool(self._cache.delete(key))


def leases_of(cache: Any) -> Leases:
    """Return the leases of a cache."""
    return cast("Leases", cache) if isinstance(cache, ResilientRedisCache) else CacheLeases(cache)


class Keeper:
    """Prolongs all leases that this process holds, on one thread that ends when it has none.

    Where no thread can be started they are not prolonged: then another may compute as well, which only costs.
    """

    def __init__(self, interval: float = _RENEWAL) -> None:
        self._interval = interval
        self._held: dict[tuple[str, str], Leases] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, leases: Leases, key: str, token: str) -> None:
        """Begin to prolong a lease."""
        with self._changed:
            self._held[key, token] = leases
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="bandstand-leases", daemon=True)
                with suppress(RuntimeError):  # the machine has no thread left; the next lease tries again
                    self._thread.start()

    def remove(self, key: str, token: str) -> None:
        """End it."""
        with self._changed:
            self._held.pop((key, token), None)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._held, timeout=self._interval)
                if not self._held:
                    self._thread = None
                    return
                held = list(self._held.items())
            for (key, token), leases in held:
                try:
                    leases.renew(key, token, LEASE)
                except Exception:  # noqa: BLE001 - the other leases must be prolonged all the same
                    _log.exception("A lease in the cache could not be prolonged")


_keeper: Final = Keeper()


@contextmanager
def held(leases: Leases, key: str) -> Iterator[bool | None]:
    """Try to take a lease for a ``with`` block: True it is ours, False somebody else's, None it can't be known."""
    token = secrets.token_hex(8)
    ours = leases.acquire(key, token, LEASE)
    if not ours:
        yield ours
        return
    _keeper.add(leases, key, token)
    try:
        yield True
    finally:
        _keeper.remove(key, token)
        leases.release(key, token)
