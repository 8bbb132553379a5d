"""Real processes under the runner's supervisor, on a clock that the test moves."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import psutil

from bandstand.workspace.runtime.launcher import SystemLauncher, Watchdog, adopt_orphans
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.resources import Plan
from bandstand.workspace.runtime.supervision import RestartPolicy, Supervision
from bandstand.workspace.runtime.supervisor import Observer, Supervisor
from tests.clock import Clock
from tests.waiting import GUARD

__all__ = ["Supervised", "system_launcher"]


@contextmanager
def system_launcher() -> Iterator[SystemLauncher]:
    """A launcher with a watchdog; processes of other tests are none of its orphans. Needs an event loop."""
    others = {child.pid for child in psutil.Process().children()}
    watchdog = Watchdog()
    adopt_orphans(lambda: watchdog.pids | others)
    watchdog.start()
    try:
        yield SystemLauncher(watchdog)
    finally:
        watchdog.close()


class Supervised:
    """The processes of ``plan``, of which the test looks at the one that is called ``name``.

    ``hurried`` ends them without their grace, as a second Ctrl-C does.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        *,
        policy: RestartPolicy | None = None,
        observers: tuple[Observer, ...] = (),
        hurried: bool = False,
    ) -> None:
        self.clock, self.logs = Clock(), Logs()
        self._plan, self._observers, self._hurried = plan, observers, hurried
        self.rules = Supervision(plan, policy=policy or RestartPolicy(base=0.05))
        self.status = self.rules.statuses[name]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - a test looks, as people do
            await asyncio.sleep(0.02)

    async def reaches(self, phase: Phase, *, restarts: int = 0) -> None:
        await self.until(lambda: (self.status.phase, self.status.restarts) == (phase, restarts))

    def run(self, work: Callable[[Supervisor], Coroutine[None, None, None]]) -> None:
        """Do ``work`` while the processes are supervised, and leave nothing behind."""

        async def run() -> None:
            with system_launcher() as launcher:
                supervisor = Supervisor(self._plan, self.rules, launcher=launcher, logs=self.logs, clock=self.clock)
                supervisor.observers = self._observers
                running = asyncio.create_task(supervisor.run())
                try:
                    async with asyncio.timeout(GUARD):
                        await work(supervisor)
                finally:
                    supervisor.stop()
                    if self._hurried:
                        await self.until(lambda: supervisor.stopping)
                        supervisor.stop()
                    await running
                    self.logs.close()

        asyncio.run(run())
