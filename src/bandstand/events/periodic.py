"""What a service has to do now and then, whether or not an event comes: ``@periodic``."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from bandstand.events import metrics
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
    """Let each worker of the service call the function about every ``seconds``, at the earliest 15 seconds after.

    Write it in ``events.py`` of an app. It takes nothing and runs outside of a transaction, beside the handlers. Two
    workers may call it at once, so what it does must be safe then, as a conditional ``UPDATE`` is. What it raises is
    logged and counted, and it is called again when it is due.

    Raises:
        ConfigurationError: ``seconds`` is no time.
    """
    if not seconds > 0:
        raise ConfigurationError(f"@periodic(seconds={seconds!r}) is no time; write a number above 0.")

    def register(function: F) -> F:
        JOBS.append(PeriodicJob(f"{function.__module__}.{function.__qualname__}", seconds, function))
        return function

    return register


class Schedule:
    """When each job is due. All of them are at the beginning; ``jobs`` may become more."""

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
    except Exception:
        logger.exception("%s failed; it is called again in %g s", job.name, job.seconds)
        metrics.periodic_runs.labels(job.name, "failed").inc()
    else:
        metrics.periodic_runs.labels(job.name, "done").inc()
