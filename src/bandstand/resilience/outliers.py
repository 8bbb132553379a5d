"""Which of several instances fail while the others work: they are left out for a while."""

import threading
import time
from collections.abc import Callable, Collection

__all__ = ["Outliers"]


class _Record:
    """What is known of an instance that failed lately."""

    __slots__ = ("duration", "failures", "times", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.times = 0
        self.until = 0.0
        self.duration = 0.0


class Outliers:
    """Ejects an instance after so many ``failures`` in a row, for ``rest`` seconds, doubled each time up to ``cap``.

    At most ``share`` of the known instances are out at once, and never the last: when all fail, it is not the instance
    (outlier detection as in Envoy). Once its time is over it is in again on probation: if it fails first thing it is
    ejected at once, and whenever it is, for twice as long; when it was well for as long as it was out last, that is
    forgotten. ``on_eject(name, seconds)`` is told, outside of the lock.
    """

    def __init__(
        self,
        *,
        failures: int,
        rest: float,
        cap: float,
        share: float,
        clock: Callable[[], float] = time.monotonic,
        on_eject: Callable[[str, float], None] | None = None,
    ) -> None:
        self._failures = failures
        self._rest = rest
        self._cap = cap
        self._share = share
        self._clock = clock
        self._on_eject = on_eject
        self._records: dict[str, _Record] = {}  # only of those that failed, so that success costs next to nothing
        self._lock = threading.Lock()

    def ejected(self, name: str) -> bool:
        """Say whether an instance is out now."""
        record = self._records.get(name)
        return record is not None and record.until > self._clock()

    def count(self) -> int:
        """Return how many instances are out now."""
        now = self._clock()
        return sum(record.until > now for record in tuple(self._records.values()))

    def succeeded(self, name: str) -> None:
        """Say that an instance did what it should."""
        if name not in self._records:
            return
        with self._lock:
            record = self._records.get(name)
            if record is None:
                return
            record.failures = 0
            if self._clock() >= record.until + record.duration:
                del self._records[name]

    def failed(self, name: str, known: Collection[str]) -> None:
        """Say that an instance failed; ``known`` are the names of all that there are, also of those that are out."""
        with self._lock:
            self._forget_gone(known)
            record = self._records.setdefault(name, _Record())
            record.failures += 1
            now = self._clock()
            enough = record.failures >= self._failures and record.until <= now
            if not (enough and self._room(known, now)):
                return
            record.duration = min(self._cap, self._rest * 2.0 ** min(record.times, 64))
            record.until = now + record.duration
            record.times += 1
            record.failures = self._failures - 1  # on probation afterwards
        if self._on_eject is not None:
            self._on_eject(name, record.duration)

    def _room(self, known: Collection[str], now: float) -> bool:
        out = sum(record.until > now for record in self._records.values())
        return out < min(int(len(known) * self._share), len(known) - 1)

    def _forget_gone(self, known: Collection[str]) -> None:
        for gone in self._records.keys() - known:
            del self._records[gone]
