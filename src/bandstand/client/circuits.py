"""The circuits to one service: that of calls with their usual time, and others for calls that had much less."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from bandstand.resilience import Circuit, CircuitBreaker, Mode, Policy, Refused

__all__ = ["Admitted", "Circuits", "Hasty"]

_MOST_KINDS: Final = 12


class Hasty(msgspec.Struct, frozen=True):
    """A call with less than half of the usual time was let through, by both circuits that it depends on."""

    usual: int
    breaker: CircuitBreaker
    own: int


Admitted = int | Hasty


class Circuits:
    """Judge a service by calls that had at least half of the policy's ``timeout``, and shorter ones by their like.

    A time-out of a call with little time says nothing to those who have more. It does say something to those with as
    little: so they have a circuit of their own for each halving of the time, under the same limits. Every other failure
    counts for all. ``on_change(before, after, seconds)`` is told of each change of a circuit for calls with less than
    so many seconds, or None for the usual one.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Circuit, Circuit, float | None], None],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._on_change = on_change
        self._mode: Mode = policy.breaker
        self._enough = policy.timeout / 2
        self._hasty: dict[int, CircuitBreaker] = {}
        self.usual: Final = self._make(None)

    @property
    def state(self) -> Circuit:
        """That of the usual circuit, and open while another one refuses calls."""
        refused = any(each.refuses for each in tuple(self._hasty.values()))
        return Circuit.OPEN if refused else self.usual.state

    def force(self, mode: Mode) -> None:
        """Hold all ``open`` or ``closed`` from now on, or let them find their own state (``auto``) anew."""
        self._mode = mode
        for breaker in (self.usual, *tuple(self._hasty.values())):
            breaker.force(mode)

    def admit(self, seconds: float) -> Admitted | Refused:
        """Admit a call that has so many seconds left and return the admission for :meth:`record`, or refuse it."""
        usual = self.usual.admit()
        if seconds >= self._enough or isinstance(usual, Refused):
            return usual
        breaker = self._for(seconds)
        own = breaker.admit()
        if isinstance(own, Refused):
            self.usual.record(usual, None)
            return own
        return Hasty(usual, breaker, own)

    def record(self, admitted: Admitted, good: bool | None, *, late: bool) -> None:
        """Record how a call ended; ``late``: it failed because its time was over."""
        if isinstance(admitted, Hasty):
            admitted.breaker.record(admitted.own, good)
            self.usual.record(admitted.usual, None if late else good)
        else:
            self.usual.record(admitted, good)

    def _for(self, seconds: float) -> CircuitBreaker:
        halvings = min(math.frexp(self._enough / seconds)[1], _MOST_KINDS)
        breaker = self._hasty.get(halvings)
        if breaker is None:
            # Of two threads that are first at the same time, one makes a breaker too many, which is dropped.
            less_than = self._policy.timeout / 2**halvings
            breaker = self._hasty.setdefault(halvings, self._make(less_than))
        return breaker

    def _make(self, less_than: float | None) -> CircuitBreaker:
        policy = self._policy
        return CircuitBreaker(
            ratio=policy.breaker_ratio,
            calls=policy.breaker_calls,
            window=policy.breaker_window,
            rest=policy.breaker_rest,
            mode=self._mode,
            clock=self._clock,
            on_change=partial(self._tell, less_than),
        )

    def _tell(self, less_than: float | None, before: Circuit, after: Circuit) -> None:
        self._on_change(before, after, less_than)
