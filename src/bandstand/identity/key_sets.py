"""Where public keys are looked up: in this process, or in the key set that the issuer publishes."""

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from threading import Lock, Thread
from typing import Final

from bandstand.context import counter
from bandstand.exceptions import KeySetUnavailable
from bandstand.identity.keys import PublicKey

__all__ = ["LocalKeySet", "RemoteKeySet"]

_logger: Final = logging.getLogger(__name__)
_refreshes: Final = counter("bandstand_key_set_refreshes_total", "Times that the key set was fetched.", ("result",))

_STALE: Final = 30.0  # seconds after which the set is fetched again in the background
_OVERDUE: Final = 60.0  # seconds after which, in a process that was idle, a request waits for the new set
_FIRST_RETRY: Final = 1.0  # seconds between attempts while no set is known at all
_PATIENCE: Final = 5.0  # seconds that a request waits for a fetch which another one began


class LocalKeySet:
    """The keys that ``keys`` returns now, as those of a watched file."""

    def __init__(self, keys: Callable[[], Mapping[str, PublicKey]]) -> None:
        self._keys = keys

    def find(self, kid: str) -> PublicKey | None:
        """Return the key with that id, or None.

        Raises:
            ConfigurationError: the file of the keys could not be read yet.
        """
        return self._keys().get(kid)


class RemoteKeySet:
    """The keys that ``fetch`` returns, kept for as long as the issuer can't be reached.

    A set older than half a minute is fetched again in the background; after an idle minute the first request waits
    for it, so a revoked key is refused within a minute. An unknown key id fetches, at most once in ``interval``
    seconds however many arrive; all that arrive meanwhile wait for that one fetch. Once a fetch has failed nobody
    waits any more until one succeeds; before the first set is had that is tried once a second, so that services may
    start in any order. ``spawn`` runs a function in the background.
    """

    def __init__(
        self,
        fetch: Callable[[], Mapping[str, PublicKey]],
        *,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._fetch = fetch
        self._interval = interval
        self._clock = clock
        self._spawn = spawn or _in_thread
        self._keys: Mapping[str, PublicKey] | None = None
        self._failing = False
        self._allowed_at = self._stale_at = self._overdue_at = clock()
        self._flight = Lock()

    def find(self, kid: str) -> PublicKey | None:
        """Return the key with that id, or None.

        Raises:
            KeySetUnavailable: no set could be fetched yet.
        """
        known = self._keys is not None and kid in self._keys
        now = self._clock()
        if now >= (self._stale_at if known else self._allowed_at):
            if self._failing or (known and now < self._overdue_at):
                self._refresh_in_background()
            elif self._flight.acquire(timeout=_PATIENCE):
                self._refresh()
        if self._keys is None:
            raise KeySetUnavailable("The keys that verify user tokens could not be fetched yet.")
        return self._keys.get(kid)

    def prefetch(self) -> None:
        """Fetch the first set before a request needs it. If that fails, the first request tries for itself.

        Raises:
            Exception: whatever ``fetch`` raises.
        """
        with self._flight:
            if self._keys is None:
                self._take(Context().run(self._fetch))

    def _refresh_in_background(self) -> None:
        if not self._flight.acquire(blocking=False):
            return
        try:
            self._spawn(self._refresh)
        except RuntimeError:  # no thread can be started: the process is ending, or at its limit
            self._flight.release()

    def _refresh(self) -> None:
        """Fetch, if it is time; called with the flight's lock held, which it releases."""
        try:
            if self._clock() >= self._allowed_at:
                self._replace_keys()
        finally:
            self._flight.release()

    def _replace_keys(self) -> None:
        try:
            # In a context of its own: the deadline of the request that came first is not the deadline of this fetch.
            self._take(Context().run(self._fetch))
        except Exception as error:  # noqa: BLE001 - whatever the fetcher raises, the last good set stays in use
            self._note(failing=True)
            _logger.warning("The key set could not be fetched: %s", error)

    def _take(self, keys: Mapping[str, PublicKey]) -> None:
        self._keys = keys
        self._note(failing=False)

    def _note(self, *, failing: bool) -> None:
        """Note how a fetch ended, and when the next one is due."""
        self._failing = failing
        _refreshes.labels("failed" if failing else "fetched").inc()
        now = self._clock()  # asked after the fetch, which may have been slow
        self._allowed_at = now + (self._interval if self._keys is not None else _FIRST_RETRY)
        self._stale_at = self._allowed_at if self._failing else now + _STALE
        self._overdue_at = now + _OVERDUE


def _in_thread(work: Callable[[], None]) -> None:
    Thread(target=work, name="bandstand-key-set", daemon=True).start()
