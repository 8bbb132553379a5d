"""The one loop that acts: it starts what the rules say, and tells the rules what happened.

What to do is decided in ``supervision.py``, which knows no clock and no process; here nothing is decided.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

from bandstand.workspace.runtime.failures import reason_of
from bandstand.workspace.runtime.launcher import Child, Launcher
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.messages import (
    Act,
    Answered,
    Ask,
    Broke,
    Change,
    Ended,
    Event,
    Exited,
    Finished,
    HurryRequested,
    JoinRequested,
    Kill,
    Launch,
    LeaveRequested,
    Missed,
    Passed,
    Perform,
    PlatformReady,
    Silent,
    Stop,
    StopRequested,
    UpdateRequested,
    Wake,
    Woke,
)
from bandstand.workspace.runtime.resources import (
    Action,
    NeverReady,
    NotReady,
    Plan,
    Probe,
    Process,
    Resource,
    Step,
    Task,
)
from bandstand.workspace.runtime.supervision import Status, Supervision

__all__ = ["Observer", "Supervisor"]

_PAUSE_STARTING: Final = 0.03  # seconds between two questions to a process that starts
_PAUSE_UNREADY: Final = 0.2
_MISSES: Final = 2  # failed questions in a row until a process that was ready is not


class Observer(Protocol):
    """Whoever shows or publishes what happens. It is called within the loop, and must not wait."""

    def changed(self, status: Status) -> None:
        """A resource is in another phase."""

    def ready(self) -> None:
        """Everything is ready for the first time."""


class Supervisor:
    """Performs a plan, and tells its ``observers``."""

    def __init__(
        self,
        plan: Plan,
        supervision: Supervision,
        *,
        launcher: Launcher,
        logs: Logs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children: dict[str, Child] = {}
        self._launching: dict[str, asyncio.Event] = {}
        self.observers: tuple[Observer, ...] = ()
        self._resources = {resource.name: resource for resource in plan.resources}
        self._supervision = supervision
        self._launcher = launcher
        self._logs = logs
        self._clock = clock
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._actions: dict[str, asyncio.Task[None]] = {}
        self._ended = False

    async def run(self) -> None:
        """Bring the plan up, keep it up, and return when everything has ended."""
        self._act(self._supervision.begin(self._clock()))
        while not self._ended:
            event = await self._events.get()
            self._act(self._supervision.react(event, self._clock()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Ask for an orderly end; asked a second time, for a quick one."""
        self._events.put_nowait(HurryRequested() if self.stopping else StopRequested())

    def join(self, process: Process) -> None:
        """Run one more process."""
        self._resources[process.name] = process
        self._events.put_nowait(JoinRequested(name=process.name, process=process))

    def update(self, process: Process) -> None:
        """Watch a process that runs as ``process`` has it from now on; that is also how it is started anew."""
        self._resources[process.name] = process
        self._events.put_nowait(UpdateRequested(name=process.name, process=process))
        if process.name in self._probes:
            self._forget_probe(process.name)
            self._watch_process(process)

    def leave(self, name: str) -> None:
        """End a process for good."""
        self._events.put_nowait(LeaveRequested(name=name))

    def pid_of(self, name: str) -> int | None:
        """Return the process id of a resource that runs now."""
        child = self._children.get(name)
        return None if child is None else child.pid

    @property
    def stopping(self) -> bool:
        return self._supervision.stopping

    @property
    def hurrying(self) -> bool:
        return self._supervision.hurrying

    def _act(self, acts: list[Act]) -> None:
        for act in acts:
            match act:
                case Launch() | Ask() | Perform():
                    self._begin(act, self._resources[act.name])
                case Stop():
                    self._spawn(self._stop(act.name, hurry=act.hurry, linger=act.linger))
                case Kill():
                    self._spawn(self._kill(act.name))
                case Wake():
                    self._spawn(self._wake(act))
                case Change():
                    self._tell(act.name)
                case PlatformReady() | Ended():
                    self._announce(act)

    def _announce(self, act: PlatformReady | Ended) -> None:
        if isinstance(act, Ended):
            self._ended = True
            return
        for observer in self.observers:
            self._inform(observer.ready)

    def _tell(self, name: str) -> None:
        for observer in self.observers:
            self._inform(observer.changed, self._supervision.statuses[name])

    def _inform(self, hear: Callable[..., None], *statuses: Status) -> None:
        """An observer that fails must not end the loop, and with it the platform; the traceback goes to the log."""
        try:
            hear(*statuses)
        except Exception as error:  # noqa: BLE001 - whatever an observer did wrong, the platform goes on
            context = {"message": "An observer of the runner failed; the platform goes on.", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def _begin(self, act: Launch | Ask | Perform, resource: Resource) -> None:
        match act, resource:
            case Launch(), Process() | Task():
                self._forget_probe(resource.name)
                self._launching[resource.name] = asyncio.Event()
                self._spawn(self._run(resource))
            case Launch(), Step():
                self._actions[resource.name] = self._spawn(self._perform(resource.name, resource.action))
            case Ask(), Process():
                self._watch_process(resource)
            case Perform(), Task(then=Action() as action):
                self._actions[resource.name] = self._spawn(self._perform(resource.name, action))

    def _watch_process(self, process: Process) -> None:
        self._probes[process.name] = self._spawn(self._watch(process.name, process.probe, process.liveness))

    def _forget_probe(self, name: str) -> None:
        if name in self._probes:
            self._probes.pop(name).cancel()

    # --- processes ------------------------------------------------------------------------------

    async def _run(self, resource: Process | Task) -> None:
        """Start a process and follow it to its end."""
        name = resource.name
        sink = self._logs.sink(name, resource.log)
        try:
            if isinstance(resource, Process) and resource.ready_file is not None:
                resource.ready_file.unlink(missing_ok=True)
            self._children[name] = child = await self._launcher.launch(
                resource.command,
                stop_signal=resource.stop_signal if isinstance(resource, Process) else Task.stop_signal,
                output=sink,
            )
        except OSError as error:
            sink(f"{resource.command.arguments[0]} could not be started: {error}\n".encode())
            self._events.put_nowait(Exited(name=name, status=127))
            return
        finally:
            self._launching.pop(name).set()
        self._tell(name)  # now with a process id
        status = await child.wait()
        del self._children[name]
        self._forget_probe(name)
        self._events.put_nowait(Exited(name=name, status=status))

    async def _stop(self, name: str, *, hurry: bool, linger: float) -> None:
        resource = self._resources[name]
        await asyncio.sleep(linger)
        if isinstance(resource, Process) and resource.drain is not None and not hurry:
            with suppress(OSError, NotReady):
                await resource.drain.perform()
        if isinstance(resource, Step) and resource.action.waits:
            self._drop_action(name)
        child = await self._child(name)
        if child is not None:  # any other action of ours ends by itself
            child.send(resource.stop_signal if isinstance(resource, Process) else Task.stop_signal)

    async def _kill(self, name: str) -> None:
        self._drop_action(name)
        child = await self._child(name)
        if child is not None:
            child.kill()

    async def _child(self, name: str) -> Child | None:
        """Return the process that runs; one that is being started can be told something a moment later."""
        if name in self._launching:
            await self._launching[name].wait()
        return self._children.get(name)

    def _drop_action(self, name: str) -> None:
        if name in self._actions:
            self._actions.pop(name).cancel()

    # --- questions and times ----------------------------------------------------------------------

    async def _watch(self, name: str, probe: Probe, liveness: Probe | None) -> None:
        """Ask a process whether it is ready, often at first, then as often as its probe says.

        Only when it is not, ask whether it lives at all: who is ready has shown that.
        """
        while (fault := await self._answer(name, probe)) is not None:
            self._events.put_nowait(_missed(name, fault))
            await asyncio.sleep(_PAUSE_STARTING)
        self._events.put_nowait(Passed(name=name))
        misses = 0
        while probe.again is not None:
            await asyncio.sleep(_PAUSE_UNREADY if misses else probe.again)
            fault = await self._answer(name, probe)
            if fault is None and misses >= _MISSES:
                self._events.put_nowait(Passed(name=name))
            misses = 0 if fault is None else misses + 1
            if fault is not None and misses >= _MISSES:
                self._events.put_nowait(_missed(name, fault))
            if fault is not None and liveness is not None:
                silence = await self._answer(name, liveness)
                self._events.put_nowait(Silent(name=name, reason=str(silence)) if silence else Answered(name=name))

    async def _answer(self, name: str, probe: Probe) -> NotReady | None:
        """Whoever answers in place of a process that does not run is somebody else."""
        return await _ask(probe) if name in self._children else NotReady("it does not run")

    async def _wake(self, act: Wake) -> None:
        await asyncio.sleep(act.delay)
        self._events.put_nowait(Woke(name=act.name, generation=act.generation))

    async def _perform(self, name: str, action: Action) -> None:
        try:
            skipped = await action.perform()
        except asyncio.CancelledError:
            self._events.put_nowait(Broke(name=name, reason="it was not waited for"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the reason that the user reads
            self._events.put_nowait(Broke(name=name, reason=reason_of(error)))
        else:
            self._events.put_nowait(Finished(name=name, skipped=skipped))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _missed(name: str, fault: NotReady) -> Missed:
    return Missed(name=name, reason=str(fault), never=isinstance(fault, NeverReady))


async def _ask(probe: Probe) -> NotReady | None:
    """Return why the process is not ready, or None when it is."""
    try:
        async with asyncio.timeout(probe.timeout):
            await probe.check()
    except NotReady as error:
        return error
    except TimeoutError:
        return NotReady(f"no answer in {probe.timeout:.0f} s")
    except OSError as error:
        return NotReady(f"no connection: {error.strerror or error}")
    return None
