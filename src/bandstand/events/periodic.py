"""Functions that a service's workers call at an interval, independent of events: ``@periodic``."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from bandstand.events import metrics
from bandstand.events.errors import is_interrupt
from bandstand.exceptions import ConfigurationError

__all__ = ["JOBS", "PeriodicJob", "Schedule", "periodic"]

logger: Final = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[[], object])


class PeriodicJob(NamedTuple):
    """A function that is called about every ``seconds``."""

    name: str
    seconds: float
    run: Callable[[], object]


JOBS: Final[list[PeriodicJob]] = []


def periodic(*, seconds: float) -> Callable[[F], F]:
    """Register a function that each worker of the service calls about every ``seconds``.

    Write it in ``events.py`` of an app. The worker looks every 15 seconds for functions that are due. The function
    takes nothing and runs outside of a transaction, beside the handlers. Two workers may call it at once, so its work
    must be safe then, as a conditional ``UPDATE`` is. An exception is logged and counted, and the function is called
    again when it is due.

    Raises:
        ConfigurationError: ``seconds`` is not above 0.
    """
    if not seconds > 0:
        raise ConfigurationError(f"@periodic(seconds={seconds!r}) is no time; write a number above 0.")

    def register(function: F) -> F:
        JOBS.append(PeriodicJob(f"{function.__module__}.{function.__qualname__}", seconds, function))
        return function

    return register


class Schedule:
    """The times at which jobs are due; each is due at once. ``jobs`` may grow later."""

    def __init__(self, jobs: Iterable[PeriodicJob], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._clock = clock
        self._due: dict[PeriodicJob, float] = {}

    def run_due(self) -> None:
        """Call each function that is due; one that fails costs no other its turn."""
        for job in self._jobs:
            now = self._clock()
            if now >= self._due.get(job, now):
                self._due[job] = now + job.seconds
                _run(job)


def _run(job: PeriodicJob) -> None:
    try:
        job.run()
    except BaseException as error:
        if is_interrupt(error):
            raise
        logger.exception("%s failed; it is called again in %g s", job.name, job.seconds)
        metrics.periodic_runs.labels(job.name, "failed").inc()
    else:
        metrics.periodic_runs.labels(job.name, "done").inc()
