"""One performance of a plan: supervisor, watchdog, logs and signals, put together and taken apart again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Final

from bandstand.exceptions import StartInterrupted
from bandstand.workspace.runtime.failures import explain
from bandstand.workspace.runtime.launcher import SystemLauncher, Watchdog, adopt_orphans
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.reports import Notice, Output, Reporter, StepDone, Stopping
from bandstand.workspace.runtime.resources import Plan, Process, Task
from bandstand.workspace.runtime.supervision import Status, Supervision
from bandstand.workspace.runtime.supervisor import Observer, Supervisor

__all__ = ["Session", "waiting_text"]

_PATIENCE: Final = 10.0  # seconds until it is said what a start still waits for, and until it is said again


class Session:
    """Performs ``plan`` and reports each step. ``slots`` bounds the services' tasks that run at once."""

    def __init__(self, plan: Plan, report: Reporter, *, slots: int) -> None:
        self.began = time.monotonic()
        self._interrupted_by: int | None = None
        self._plan = plan
        self._report = report
        self._supervision = Supervision(plan, slots=slots)
        self._watchdog = Watchdog()
        self._logs = Logs()
        self._logs.listener = lambda name, line: report(Output(name=name, line=line))
        self._logs.report = lambda text: report(Notice(text=text))
        self._supervisor = Supervisor(plan, self._supervision, launcher=SystemLauncher(self._watchdog), logs=self._logs)

    def pid_of(self, name: str) -> int | None:
        """Return the process id of a resource that runs now."""
        return self._supervisor.pid_of(name)

    def stop(self) -> None:
        """Ask for an orderly end; asked a second time, for a quick one."""
        self._supervisor.stop()

    def join(self, process: Process) -> None:
        """Run one more process."""
        self._supervisor.join(process)

    def update(self, process: Process) -> None:
        """Watch a process that runs as ``process`` has it from now on."""
        self._supervisor.update(process)

    def leave(self, name: str) -> None:
        """End a process for good."""
        self._supervisor.leave(name)

    async def run(self, *observers: Observer, hang_up: Callable[[], None] | None = None) -> None:
        """Return when everything has ended; ``hang_up`` is called at SIGHUP, which stops where it is None.

        Raises:
            WorkspaceError: something failed before all was ready.
            StartInterrupted: a signal came before all was ready.
        """
        self._listen(hang_up)  # before anything runs that would have to be ended
        adopt_orphans(lambda: self._watchdog.pids)
        self._watchdog.start()
        self._supervisor.observers = (*observers, _Progress(self._report, self.began))
        keeping = asyncio.create_task(self._watchdog.keep())
        telling = asyncio.create_task(self._tell_what_is_late())
        try:
            await self._supervisor.run()
        finally:
            keeping.cancel()
            telling.cancel()
            self._watchdog.close()
            self._logs.close()
        failure = self._supervision.failure
        if failure is not None:
            raise explain(failure, self._plan.resource(failure.name), self._logs.tail(failure.name))
        if self._interrupted_by is not None and not self._supervision.ready:
            raise StartInterrupted(self._interrupted_by)

    async def _tell_what_is_late(self) -> None:
        """Until the start is over, one way or the other."""
        while True:
            await asyncio.sleep(_PATIENCE)
            if self._supervision.ready or self._supervision.stopping:
                return
            now = time.monotonic()
            if late := self._supervision.late(now, after=_PATIENCE * 0.9):
                self._report(Notice(text=waiting_text(late, now)))

    def _listen(self, hang_up: Callable[[], None] | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted, number)
        if hang_up is not None:
            loop.add_signal_handler(signal.SIGHUP, hang_up)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._interrupted, signal.SIGHUP)

    def _interrupted(self, number: int) -> None:
        if self._supervisor.hurrying:
            os._exit(128 + number)  # asked a third time: the watchdog ends what is left
        self._interrupted_by = self._interrupted_by or number
        text = "Ending everything at once." if self._supervisor.stopping else "Stopping (once more to hurry)."
        self._report(Stopping(text=text))
        self.stop()


def waiting_text(late: Iterable[Status], now: float) -> str:
    """Say for each resource how long it has been starting, and its probe's last answer or else where its log is."""
    return "Still waiting for " + "; ".join(
        f"{status.resource.label} ({now - status.launched:.0f} s): {_excuse(status)}" for status in late
    )


def _excuse(status: Status) -> str:
    if status.reason:
        return status.reason.splitlines()[0]
    return f"see {status.resource.log}" if isinstance(status.resource, Process | Task) else "no answer yet"


def _trouble(status: Status) -> str:
    if status.phase is Phase.BACKOFF:
        return f"{status.reason}; it is started again."
    return f"it is not ready any more ({status.reason.splitlines()[0] if status.reason else 'no reason'})."


class _Progress:
    """Reports each step while the platform starts, and later what falls."""

    def __init__(self, report: Reporter, began: float) -> None:
        self._report = report
        self._began = began
        self._done: set[str] = set()
        self._over = False

    def changed(self, status: Status) -> None:
        name = status.resource.name
        if status.phase in {Phase.BACKOFF, Phase.UNREADY}:
            self._report(Notice(text=f"{status.resource.label}: {_trouble(status)}"))
        if self._over or not status.fulfilled or name in self._done:
            return
        self._done.add(name)
        self._report(
            StepDone(
                label=status.resource.label,
                seconds=0.0 if status.skipped else status.since - status.launched,
                at=status.since - self._began,
                skipped=status.skipped,
            )
        )

    def ready(self) -> None:
        self._over = True
