"""How many retries there may be: a share of the calls, and a few more for those who call seldom."""

import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["RetryBudget"]

_SAVED_SECONDS: Final = 10.0  # how long the floor may save up


class RetryBudget:
    """A token bucket: each call puts ``share`` of a token in, each second ``floor`` tokens, each retry takes one out.

    So a target that fails all the time sees at most ``1 + share`` times the calls that are made, and ``floor`` more a
    second, however many retries each single call may have (the retry budget of Finagle and Linkerd). The bucket is
    full at the start and never holds more than the floor gives in 10 seconds, at least 10: quiet hours don't save up
    for a storm.
    """

    __slots__ = ("_at", "_balance", "_clock", "_floor", "_lock", "_room", "_share")

    def __init__(self, *, share: float, floor: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._floor = floor
        self._clock = clock
        self._room = max(1.0, floor) * _SAVED_SECONDS
        self._balance = floor * _SAVED_SECONDS
        self._at = clock()
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Count a call that begins."""
        if self._balance < self._room:  # a full bucket, which is the usual case, needs no lock
            with self._lock:
                self._balance = min(self._room, self._balance + self._share)

    def withdraw(self) -> bool:
        """Take one retry out, or say that there is none."""
        with self._lock:
            self._accrue()
            if self._balance < 1.0:
                return False
            self._balance -= 1.0
            return True

    @property
    def exhausted(self) -> bool:
        """Whether there is no retry left now."""
        if self._balance >= 1.0:  # the usual case needs no lock
            return False
        with self._lock:
            self._accrue()
            return self._balance < 1.0

    def _accrue(self) -> None:
        now = self._clock()
        self._balance = min(self._room, self._balance + (now - self._at) * self._floor)
        self._at = now
