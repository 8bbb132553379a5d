"""Which instance is asked: of two at random the one with fewer calls in flight."""

import random
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from bandstand.discovery import Instance

__all__ = ["InFlight", "choose", "in_flight"]


class InFlight:
    """How many calls of this process each instance is working on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, int] = {}

    def add(self, url: str) -> None:
        with self._lock:
            self._calls[url] = self._calls.get(url, 0) + 1

    def remove(self, url: str) -> None:
        with self._lock:
            left = self._calls.get(url, 0) - 1
            if left > 0:
                self._calls[url] = left
            else:  # instances come and go; their names must not pile up
                self._calls.pop(url, None)

    def count(self, url: str) -> int:
        return self._calls.get(url, 0)


in_flight: Final = InFlight()


def choose(
    instances: Sequence[Instance],
    tried: Collection[str],
    load: Callable[[str], int],
    sample: Callable[[Sequence[Instance], int], list[Instance]] = random.sample,
) -> Instance:
    """Return the instance to ask: not one of the URLs in ``tried`` as long as there is another.

    Two at random and the less loaded of them: nearly as good as knowing the best, without all callers rushing to it
    (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
    """
    fresh = [instance for instance in instances if instance.url not in tried] if tried else instances
    candidates = fresh or instances
    if len(candidates) == 1:
        return candidates[0]
    one, other = sample(candidates, 2)
    return other if load(other.url) < load(one.url) else one
