"""How long an instance takes lately: quick to see that it got slow, slow to forget it."""

from math import exp
from typing import Final

__all__ = ["PeakEwma"]

_DECAY: Final = 5.0  # seconds in which what was seen loses 63 % of its weight


class PeakEwma:
    """A moving average of seconds that jumps to each peak and decays from it (Peak EWMA, as in Finagle's balancer).

    It decays towards nothing while nothing is observed, so an instance that was avoided is tried again by and by.
    Whoever writes it from several threads may lose an observation, never more: there is no lock.
    """

    __slots__ = ("_at", "_cost")

    def __init__(self) -> None:
        self._cost = 0.0
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Take in that something took ``seconds`` and ended ``now``."""
        cost = self._cost
        if seconds < cost:
            weight = exp((self._at - now) / _DECAY)
            cost = cost * weight + seconds * (1.0 - weight)
        else:
            cost = seconds
        self._cost = cost
        self._at = now

    def value(self, now: float) -> float:
        """Return the average in seconds, or 0 when nothing was observed yet or not for long."""
        cost = self._cost
        return cost * exp((self._at - now) / _DECAY) if cost else 0.0
