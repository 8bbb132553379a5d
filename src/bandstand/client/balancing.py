"""Which instance of a service is asked, from what calls of this process found."""

import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from bandstand.discovery import Instance
from bandstand.resilience import Outliers, PeakEwma

__all__ = ["Balancer", "Load"]

_PENALTY: Final = 1.0  # seconds: the guess for an instance that was asked and has not answered yet


class Balancer:
    """Calls in flight, latency and failures of each instance of one service, and the choice that follows."""

    def __init__(
        self,
        outliers: Outliers,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.outliers = outliers
        self._clock = clock
        self._chance = chance
        self._loads: dict[str, Load] = {}
        self._lock = threading.Lock()

    def choose(self, known: Sequence[Instance], tried: Collection[str]) -> Instance:
        """Return the instance to ask: one that is not ejected, and not one of the URLs in ``tried``, if there is one.

        Two at random and the less loaded of them: nearly as good as knowing the best, without all callers rushing to it
        (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). Load is latency times calls in
        flight.
        """
        if len(known) == 1:
            return known[0]
        fresh = [instance for instance in known if instance.url not in tried] if tried else known
        # Rather one that was ejected than the one that has failed just now.
        candidates = [each for each in fresh if not self.outliers.ejected(each.url)] or fresh or known
        number = len(candidates)
        if number == 1:
            return candidates[0]
        first = int(self._chance() * number) % number
        second = (first + 1 + int(self._chance() * (number - 1)) % (number - 1)) % number
        one, other = candidates[first], candidates[second]
        now = self._clock()
        return other if self.load(other.url, now) < self.load(one.url, now) else one

    def begin(self, url: str, known: Sequence[Instance]) -> "Load":
        """Count an attempt at the instance, one of those that are ``known``; what is returned is for :meth:`end`."""
        load = self._loads.get(url) or self._entered(url, {instance.url for instance in known})
        load.attempts.append(None)
        return load

    def end(self, load: "Load", known: Sequence[Instance], *, good: bool | None, seconds: float | None) -> None:
        """Count an attempt as ended: ``good`` or not, and after how long; None says nothing of the instance."""
        load.attempts.pop()
        if seconds is not None:
            load.latency.observe(seconds, self._clock())
        if good:
            self.outliers.succeeded(load.url)
        elif good is False:
            self.outliers.failed(load.url, {instance.url for instance in known})

    def in_flight(self, url: str) -> int:
        """Return how many attempts at the instance are under way."""
        load = self._loads.get(url)
        return 0 if load is None else len(load.attempts)

    def load(self, url: str, now: float) -> float:
        """Return what one more call would wait for, in seconds: the less the better."""
        load = self._loads.get(url)
        if load is None:
            return 0.0
        latency = load.latency.value(now)
        in_flight = len(load.attempts)
        if latency == 0.0:  # not known yet: one may try it, and not all at once
            return _PENALTY * in_flight
        return latency * (in_flight + 1)

    def _entered(self, url: str, known: Collection[str]) -> "Load":
        """Instances come and go with each deployment; what is known of those that went must not pile up."""
        with self._lock:
            if url not in self._loads:
                kept = {each: load for each, load in self._loads.items() if each in known or load.attempts}
                self._loads = {**kept, url: Load(url)}
            return self._loads[url]


class Load:
    """What one instance is working on for this process, and how long it takes.

    There is an item in ``attempts`` for each that is under way: adding and taking away are atomic, so there is no lock.
    """

    __slots__ = ("attempts", "latency", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        self.attempts: list[None] = []
        self.latency = PeakEwma()
