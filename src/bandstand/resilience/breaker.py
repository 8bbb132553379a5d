"""A circuit breaker: what fails too often is left alone for a while, then asked by one call at a time."""

import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Literal

import msgspec

__all__ = ["Circuit", "CircuitBreaker", "Mode", "Refused"]

Mode = Literal["auto", "open", "closed"]

_SLOTS: Final = 10


class Circuit(IntEnum):
    """The state of a breaker; the numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """No call now; ``retry_after`` seconds from now the next one may be let through."""

    retry_after: float


class CircuitBreaker:
    """Opens when ``ratio`` of at least ``calls`` calls in the last ``window`` seconds failed.

    Open, it lets no call through for ``rest`` seconds; then one call at a time, the probe: its success closes the
    circuit, its failure opens it for another ``rest`` (M. Nygard, "Release It!"). So it is closed again at the latest
    ``rest`` seconds and one call after the target's recovery. A probe that never ends holds up the next one for
    ``rest`` seconds only.

    Each call that :meth:`admit` lets through ends with one :meth:`record`, which says whether it was good, or neither
    good nor bad (None). What began before the last change of state says nothing of the target as it is now, and is not
    counted: the number that :meth:`admit` returns tells (the generation, as in sony/gobreaker). ``mode`` ``open`` or
    ``closed`` forces a state; what happens meanwhile is not counted either. ``on_change(before, after)`` is told of
    each change, outside of the lock.
    """

    __slots__ = (
        "_calls",
        "_clock",
        "_free_at",
        "_generation",
        "_least",
        "_lock",
        "_mode",
        "_on_change",
        "_ratio",
        "_rest",
        "_state",
        "_window",
    )

    def __init__(
        self,
        *,
        ratio: float,
        calls: int,
        window: float,
        rest: float,
        mode: Mode = "auto",
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Circuit, Circuit], None] | None = None,
    ) -> None:
        self._ratio = ratio
        self._least = calls
        self._rest = rest
        self._mode: Mode = mode
        self._clock = clock
        self._on_change = on_change
        self._window = _Window(window)
        self._state = Circuit.CLOSED
        self._generation = 0
        self._free_at = 0.0  # when, unless closed, the next call may be let through
        self._lock = threading.Lock()

    @property
    def state(self) -> Circuit:
        """The state now, as it is forced or has come about."""
        if self._mode == "auto":
            return self._state
        return Circuit.OPEN if self._mode == "open" else Circuit.CLOSED

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused now; unlike the state this ends by itself when nobody calls."""
        if self._mode == "auto":
            return self._state is not Circuit.CLOSED and self._clock() < self._free_at
        return self._mode == "open"

    def force(self, mode: Mode) -> None:
        """Hold the circuit ``open`` or ``closed`` from now on, or let it find its own state (``auto``) anew."""
        before = self.state
        with self._lock:
            self._mode = mode
            self._close()
        self._tell(before, self.state)

    def admit(self) -> int | Refused:
        """Let a call through, by returning the number to give to :meth:`record`, or say that it is refused."""
        if self._state is Circuit.CLOSED and self._mode == "auto":  # the usual case needs no lock
            return self._generation
        if self._mode != "auto":
            return Refused(retry_after=self._rest) if self._mode == "open" else self._generation
        with self._lock:
            before, now = self._state, self._clock()
            if before is Circuit.CLOSED:
                return self._generation
            if now < self._free_at:
                return Refused(retry_after=self._free_at - now)
            self._change(Circuit.HALF_OPEN)
            self._free_at = now + self._rest
            generation = self._generation
        self._tell(before, Circuit.HALF_OPEN)
        return generation

    def record(self, generation: int, good: bool | None) -> None:
        """Say how the call of that generation ended; None says nothing of the target."""
        if self._mode != "auto":
            return
        with self._lock:
            if generation != self._generation:
                return
            before = self._state
            if before is Circuit.HALF_OPEN:
                self._conclude(good)
            elif good:
                self._window.add(self._clock(), failed=False)
            elif good is False:
                self._count_failure()
            after = self._state
        if before is not after:
            self._tell(before, after)

    def _count_failure(self) -> None:
        window, now = self._window, self._clock()
        window.add(now, failed=True)
        if window.calls >= self._least and window.failures >= self._ratio * window.calls:
            self._open(now)

    def _conclude(self, good: bool | None) -> None:
        """End the probe. One that says nothing makes room for the next."""
        if good is None:
            self._free_at = self._clock()
        elif good:
            self._close()
        else:
            self._open(self._clock())

    def _open(self, now: float) -> None:
        self._change(Circuit.OPEN)
        self._free_at = now + self._rest

    def _close(self) -> None:
        self._change(Circuit.CLOSED)
        self._window.clear()

    def _change(self, state: Circuit) -> None:
        self._state = state
        self._generation += 1

    def _tell(self, before: Circuit, after: Circuit) -> None:
        if before is not after and self._on_change is not None:
            self._on_change(before, after)


class _Window:
    """How many of the last calls failed: counted in slots of a tenth, so that forgetting costs nothing on a call."""

    __slots__ = ("_calls", "_failures", "_slot", "_width", "calls", "failures")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _SLOTS
        self.clear()

    def clear(self) -> None:
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._slot = 0
        self.calls = 0
        self.failures = 0

    def add(self, now: float, *, failed: bool) -> None:
        slot = int(now / self._width)
        if slot != self._slot:
            self._forget(slot)
        place = slot % _SLOTS
        self._calls[place] += 1
        self.calls += 1
        if failed:
            self._failures[place] += 1
            self.failures += 1

    def _forget(self, slot: int) -> None:
        """Empty the slots between the last one used and ``slot``, which stood for a time that is out of the window."""
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            place = passed % _SLOTS
            self.calls -= self._calls[place]
            self.failures -= self._failures[place]
            self._calls[place] = self._failures[place] = 0
        self._slot = slot
