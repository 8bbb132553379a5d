"""Leaving: readiness says no, so that nobody sends new requests, while those in flight are answered.

Servers stop listening the moment that SIGTERM arrives (granian 2.8: new connections are refused and idle ones closed
at once, requests in flight finish). Whoever routes to the process needs a moment to hear of it, so SIGTERM is taken
first here, and handed to the server after the drain time.
"""

import atexit
import logging
import os
import signal
import threading
from collections.abc import Callable
from threading import Event
from types import FrameType
from typing import Any, Final

from bandstand.conf import get_settings

__all__ = [
    "SigtermDrain",
    "drain_on_sigterm",
    "hears_sigterm",
    "is_draining",
    "start_draining",
    "stay_ready_while",
    "turns_away",
    "wait_until_draining",
    "when_drained",
]

_log: Final = logging.getLogger("bandstand.health")
_draining: Final = Event()
_others: Final[list[Callable[[], bool]]] = []

_WATCH_INTERVAL: Final = 0.2  # seconds
_WATCH_TICKS: Final = 50

StartTimer = Callable[[float, Callable[[], None]], None]


def start_draining() -> None:
    """Answer 503 at ``/health/ready/`` from now on. Everything else goes on as before."""
    _draining.set()


def is_draining() -> bool:
    """Say whether the process is leaving."""
    return _draining.is_set()


def turns_away() -> bool:
    """Return whether the process is not ready because it is leaving."""
    return is_draining() and not any(others_serve() for others_serve in _others)


def stay_ready_while(others_serve: Callable[[], bool]) -> None:
    """Answer readiness as before while the process is leaving and ``others_serve`` its address, and stay.

    A probe can't choose whom of them it meets, and one worker that ends takes nothing from the others.
    """
    if others_serve not in _others:
        _others.append(others_serve)


def wait_until_draining(timeout: float) -> bool:
    """Wait until the process is leaving, at most ``timeout`` seconds, and say whether it is."""
    return _draining.wait(timeout)


def when_drained(function: Callable[[], None]) -> None:
    """Call ``function`` when the drain time is over, before the server is told to stop, which waits for it."""
    if function not in _at_end:
        _at_end.append(function)


def hears_sigterm() -> bool:
    """Say whether a SIGTERM at this moment would be taken first here, where that is wanted at all."""
    return all(drain.is_in_front() for drain in _installed)


def drain_on_sigterm(*, serving: bool = False) -> None:
    """Let SIGTERM turn readiness to 503 at once and stop the server ``BANDSTAND["HEALTH"]["DRAIN"]`` seconds later.

    To be called in the main thread while the application loads, perhaps several times. It does nothing in a process
    that serves no requests (``serving`` says that it does, whatever its name), or without a drain time, unless there is
    something to do at its end. Servers that set their own handler after that (granian) are found by looking for it
    during the first ten seconds.
    """
    settings = get_settings()
    in_main_thread = threading.current_thread() is threading.main_thread()  # no other may set handlers
    serves = serving or settings.process == "web"
    if serves and (settings.health.drain > 0 or _at_end) and in_main_thread and not _installed:
        drain = SigtermDrain(seconds=settings.health.drain)
        drain.install()
        _installed.append(drain)


def _start_timer(seconds: float, function: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


_at_end: Final[list[Callable[[], None]]] = []


class SigtermDrain:
    """A SIGTERM handler in front of the server's. SIGINT is left alone, for those who can't wait."""

    def __init__(self, *, seconds: float, start_timer: StartTimer = _start_timer) -> None:
        self._seconds = seconds
        self._start_timer = start_timer
        self._server: Any = signal.SIG_DFL
        self._told = False
        self._over = False
        self._ticks = 0

    def install(self) -> None:
        """Stand in front of the present handler, and look for a later one, if nobody else uses SIGALRM."""
        self._stand_in_front()
        if signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:
            signal.signal(signal.SIGALRM, self._watch)
            signal.setitimer(signal.ITIMER_REAL, _WATCH_INTERVAL, _WATCH_INTERVAL)
            # While Python ends it takes its handlers away, and a tick would then kill the process.
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def is_in_front(self) -> bool:
        """Say whether no later handler took the place of this one."""
        return signal.getsignal(signal.SIGTERM) == self._handle

    def _stand_in_front(self) -> None:
        present = signal.getsignal(signal.SIGTERM)
        if present != self._handle:
            self._server = present
            signal.signal(signal.SIGTERM, self._handle)

    def _watch(self, _number: int, _frame: FrameType | None) -> None:
        """Python lets only the main thread set handlers, and only a signal reaches it inside a server's loop."""
        self._stand_in_front()
        self._ticks += 1
        if self._ticks >= _WATCH_TICKS:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            self._stop(number, frame)
        elif not self._told:  # a service manager may send it to the whole group, and the server's master once more
            self._told = True
            start_draining()
            self._start_timer(self._seconds, self._end)

    def _end(self) -> None:
        for function in _at_end:
            try:
                function()
            except Exception:  # noqa: BLE001 - whatever fails, the process has to end
                _log.exception("What was to be done at the end of draining failed.")
        self._over = True
        os.kill(os.getpid(), signal.SIGTERM)  # handlers run in the main thread, where the server expects its own

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if callable(self._server):
            self._server(number, frame)
        elif self._server == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


_installed: Final[list[SigtermDrain]] = []
