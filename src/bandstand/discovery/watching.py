"""Watches: a thread for each name that was asked for, which keeps the last good answer of a registry in memory."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

import msgspec

from bandstand.resilience import full_jitter

__all__ = ["RegistryAway", "Seen", "Start", "Watch", "start_thread"]

logger: Final = logging.getLogger(__name__)

FIRST_ANSWER: Final = 1.0
"""Seconds that the first who asks for a name waits for the registry. Nobody waits later."""

GRACE: Final = 30.0
"""Seconds that a registry which was away has to learn again who serves, before an empty list of it is believed."""

_BACKOFF_BASE: Final = 0.2  # seconds
_BACKOFF_CAP: Final = 5.0

T = TypeVar("T")


class RegistryAway(Exception):
    """The registry could not be asked, or did not answer as one; the text says why and holds no secret."""


class Seen(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One answer of a registry.

    ``known``: it has such a name. ``hollow``: nobody could be called by this answer. ``rest``: seconds for which it is
    good. ``mark``: what the registry wants to be given at the next look, to wait for a change. ``restarted``: it seems
    to have lost what it knew.
    """

    value: T
    known: bool = True
    hollow: bool = False
    rest: float = 0.0
    mark: str = ""
    restarted: bool = False


Look = Callable[[str], Seen[T]]
Start = Callable[[Callable[[], None], str], None]


def start_thread(function: Callable[[], None], name: str) -> None:
    """Start a thread.

    Raises:
        RuntimeError: the machine has none left, or the process is ending.
    """
    # A daemon: waiting for a registry must not keep the process from ending.
    threading.Thread(target=function, name=name, daemon=True).start()


class Watch(Generic[T]):
    """What one name means, from memory. ``look`` asks the registry, given the mark of its last answer.

    ``last`` is the last good answer, which ``get()`` returns. The thread starts when somebody asks for the first time,
    in a forked child once more, and no error ends it: while the registry is away it asks again with growing, random
    pauses. Where no thread can be started that is a trouble like a registry that is away, and whoever asks after such a
    pause tries again.
    """

    def __init__(
        self,
        name: str,
        look: Look[T],
        *,
        empty: T,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        start: Start = start_thread,
        grace: float = GRACE,
    ) -> None:
        self.name = name
        self.known = False
        self.answered = False
        self.trouble = f"Nothing has been heard of {name} yet."
        self.last = empty
        self._look = look
        self._clock = clock
        self._chance = chance
        self._start = start
        self._grace = grace
        self._mark = ""
        self._hollow = True
        self._failures = 0
        self._doubted_until = 0.0
        self._heard = clock()
        self._running = False
        self._next_start = 0.0
        self._begin_anew()
        _watches.add(self)

    def get(self) -> T:
        """Return the last good answer; who asks first waits for it for at most a second."""
        if not self._running:
            self._begin()
        if not self.answered and self._running:
            self._first.wait(max(0.0, self._patient_until - self._clock()))
        return self.last

    @property
    def age(self) -> float:
        """Seconds since the registry last said what is now in memory."""
        return self._clock() - self._heard

    def stop(self) -> None:
        """Let the thread end after the look that it may be waiting for."""
        self._stopped.set()

    def step(self) -> float:
        """Look once and return how many seconds to rest."""
        try:
            seen = self._look(self._mark)
        except RegistryAway as error:
            return self._missed(str(error))
        except Exception as error:
            if not self._failures:
                logger.exception("The registry's answer for %s can't be used.", self.name)
            return self._missed(type(error).__name__)
        self._take(seen)
        return seen.rest

    def _run(self) -> None:
        stopped = self._stopped
        while not stopped.is_set():
            stopped.wait(self.step())

    def _begin(self) -> None:
        with self._lock:
            now = self._clock()
            if self._running or now < self._next_start:
                return
            self._patient_until = now + FIRST_ANSWER
            try:
                self._start(self._run, f"discovery-{self.name}")
            except RuntimeError as error:  # the machine has no thread left, or the process is ending
                self._next_start = now + self._missed(str(error))
            else:
                self._running = True  # last: whoever sees it does not come by here, and must be as patient

    def _begin_anew(self) -> None:
        """Without a thread: at first, and in a forked child, which has the parent's answers but not its threads."""
        self._lock = threading.Lock()
        self._first = threading.Event()
        self._stopped = threading.Event()
        self._running = False
        self._patient_until = 0.0
        self._next_start = 0.0

    def _take(self, seen: Seen[T]) -> None:
        now = self._clock()
        if self._failures and self.answered:
            logger.info("The registry answers again for %s, after %.1f s.", self.name, now - self._heard)
        if self._failures or seen.restarted:
            self._doubted_until = now + self._grace
        if not self._is_doubtful(seen, now):
            self.last, self._hollow = seen.value, seen.hollow
        self.known = self.known or seen.known
        self._failures, self.trouble = 0, ""
        self._heard, self._mark = now, seen.mark
        self.answered = True
        self._first.set()

    def _is_doubtful(self, seen: Seen[T], now: float) -> bool:
        """A registry that was away may have lost all: nobody is forgotten until they had time to register again."""
        return seen.hollow and not self._hollow and now < self._doubted_until

    def _missed(self, reason: str) -> float:
        self._failures += 1
        self._mark = ""
        self.trouble = f"The registry can't be asked for {self.name}: {reason}."
        if self._failures == 1:
            kept = "The last good list stays in use." if self.answered else "There is no list of it yet."
            logger.warning("%s %s", self.trouble, kept)
        return full_jitter(self._failures, base=_BACKOFF_BASE, cap=_BACKOFF_CAP, chance=self._chance)


_watches: Final[WeakSet["Watch[Any]"]] = WeakSet()


def _forked() -> None:
    for watch in list(_watches):
        watch._begin_anew()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_forked)
