"""Asking a check: with a time limit, not again while its answer is fresh, and once however many ask at a time."""

import logging
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final

from bandstand.conf import get_settings
from bandstand.context import gauge
from bandstand.health.registry import Check

__all__ = ["Outcome", "Probe"]

_log: Final = logging.getLogger("bandstand.health")
_gauge: Final = gauge("bandstand_health_check", "1 while the check passes, 0 while it fails.", ("check",))

Clock = Callable[[], float]


class Outcome:
    """One run of a check on a thread of its own; ``error`` and ``finished`` are set before ``done``."""

    def __init__(self, check: Check, clock: Clock) -> None:
        self.started = clock()
        self.finished = self.started
        self.error: BaseException | None = None
        self.done = Event()
        self._check = check
        self._clock = clock
        try:
            # A daemon: a check that hangs must not keep the process from ending.
            Thread(target=self._run, name=f"health-{check.name}", daemon=True).start()
        except RuntimeError as error:  # the machine has no thread left
            self._finish(error)

    def _run(self) -> None:
        try:
            self._check.function()
        except BaseException as error:  # noqa: BLE001 - whatever a check raises is its answer
            self._finish(error)
        else:
            self._finish(None)

    def _finish(self, error: BaseException | None) -> None:
        self.error = error
        self.finished = self._clock()
        self.done.set()


class Probe:
    """What is known about one check.

    A check that hangs counts as failing, and no second thread is started for it while the first one hangs.
    """

    def __init__(self, check: Check, clock: Clock = time.monotonic) -> None:
        self.check = check
        self._clock = clock
        self._lock = Lock()
        self._outcome: Outcome | None = None
        self._passed: bool | None = None  # None before the first answer
        self._told: set[str] = set()  # the reasons told since the check began to fail
        self._failing_since = 0.0

    def begin(self) -> Outcome:
        """Return the fresh or running outcome, or start one."""
        keep = get_settings().health.cache
        with self._lock:
            outcome = self._outcome
            if outcome is None or (outcome.done.is_set() and self._clock() - outcome.finished >= keep):
                outcome = self._outcome = Outcome(self.check, self._clock)
            return outcome

    def passes(self, outcome: Outcome) -> bool:
        """Wait for ``outcome`` until its time is over, and tell the log if the answer is another than before."""
        timeout = get_settings().health.timeout
        outcome.done.wait(max(0.0, outcome.started + timeout - self._clock()))
        if not outcome.done.is_set():
            self._tell(f"no answer in {timeout:g} s", None)
            return False
        self._tell(_reason(outcome.error), outcome.error)
        return outcome.error is None

    def _tell(self, reason: str, error: BaseException | None) -> None:
        """Tell the log of each reason once in a time of failing, and of its end."""
        with self._lock:
            passed, self._passed = self._passed, not reason
            if reason and passed is not False:
                self._failing_since = self._clock()
                self._told.clear()
            is_news = reason not in self._told if reason else passed is not True
            self._told.add(reason)
        if not is_news:
            return
        _gauge.labels(self.check.name).set(0 if reason else 1)
        if reason:
            _log.error("health check %s fails: %s%s", self.check.name, reason, f": {error}" if error else "")
        elif passed is False:
            _log.info("health check %s passes again after %.1f s", self.check.name, self._clock() - self._failing_since)


def _reason(error: BaseException | None) -> str:
    return type(error).__name__ if error is not None else ""
