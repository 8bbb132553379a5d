"""A cut-out: after some failures in a row nobody asks for a while; then one asks for all."""

import time
from collections.abc import Callable
from threading import Lock

__all__ = ["Cutout"]


class Cutout:
    """``limit`` failures in a row open it for ``pause`` seconds. Moments are seconds of ``clock``."""

    def __init__(self, *, limit: int = 5, pause: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._pause = pause
        self._clock = clock
        self._lock = Lock()
        self._failures = 0
        self._opened_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last attempts failed and none has succeeded since."""
        return self._failures >= self._limit

    def allows(self) -> bool:
        """Say whether to try now. While open, one caller in each pause may."""
        if self._failures < self._limit:
            return True
        with self._lock:
            now = self._clock()
            if now < self._opened_until:
                return False
            self._opened_until = now + self._pause  # the others wait for what this one finds
            return True

    def succeeded(self) -> bool:
        """Note a success; return True when it ends an outage."""
        if not self._failures:
            return False
        with self._lock:
            was_open = self._failures >= self._limit
            self._failures = 0
            return was_open

    def failed(self) -> bool:
        """Note a failure; return True when it begins an outage."""
        with self._lock:
            self._failures += 1
            self._opened_until = self._clock() + self._pause
            return self._failures == self._limit
