"""Warming up: what the first requests of a process would wait for is done before it says that it is ready.

A process that replaces another one gets its share of the requests from one moment to the next. What it loads late,
such as drivers, connections and keys, costs the first of them ten times what the others cost; on a busy machine that is
more than callers wait for.
"""

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final

__all__ = ["WarmUp", "before_ready", "is_warm"]

_log: Final = logging.getLogger("bandstand.health")

Step = Callable[[], object]


class WarmUp:
    """Steps that are gone through once, on a thread of their own, when somebody asks whether that is over."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        self._lock = Lock()
        self._over: Event | None = None

    def add(self, name: str, step: Step) -> None:
        """Go through ``step``, too; an earlier one of that name is replaced."""
        self._steps[name] = step

    def is_over(self, timeout: float) -> bool:
        """Begin, if nobody has, and wait at most ``timeout`` seconds for the end."""
        with self._lock:
            if self._over is None:
                self._over = Event()
                try:
                    Thread(target=self._run, args=(self._over,), name="health-warm-up", daemon=True).start()
                except RuntimeError:  # the machine has no thread left: ready and cold is better than never ready
                    self._over.set()
            over = self._over
        return over.wait(timeout)

    def _run(self, over: Event) -> None:
        for name, step in list(self._steps.items()):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, the requests will show whether it matters
                _log.info("Warming up, %s was left to the first request: %s", name, error)
        over.set()


_warm_up: Final = WarmUp()


def before_ready(name: str, step: Step) -> None:
    """Call ``step`` once, before ``/health/ready/`` says for the first time that the process is ready.

    It runs on a thread of its own as soon as all checks pass, after the steps registered before it. A step is there to
    save time: one that raises is told of in the log and keeps nobody from being ready. It should end by itself within
    seconds, since until then readiness is 503 ``warming up``.
    """
    _warm_up.add(name, step)


def is_warm(timeout: float) -> bool:
    """Say whether all steps are behind this process, after at most ``timeout`` seconds of waiting for them."""
    return _warm_up.is_over(timeout)
