"""The loop, with processes that do not exist and a clock that is set: it does what the rules say."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from bandstand.workspace.runtime.launcher import Child
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.resources import Action, Command, NeverReady, Plan, Probe, Process, Stage, Step, Task
from bandstand.workspace.runtime.supervision import RestartPolicy, Status, Supervision
from bandstand.workspace.runtime.supervisor import Supervisor


class At_once(Probe, frozen=True, kw_only=True):  # noqa: N801
    async def check(self) -> None:
        return


class FakeChild:
    """Ends when it is told to, or at once with ``status``."""

    def __init__(self, pid: int, status: int | None) -> None:
        self.pid = pid
        self.signals: list[int] = []
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if status is not None:
            self._ended.set_result(status)

    async def wait(self) -> int:
        return await self._ended

    def send(self, number: int) -> None:
        self.signals.append(number)
        self._ended.set_result(0)

    def kill(self) -> None:
        self._ended.set_result(-9)


class FakeLauncher:
    """Starts nothing; the programs in ``ends`` end at once with their status, and say something before."""

    def __init__(self, ends: dict[str, int]) -> None:
        self.ends = ends
        self.started: list[str] = []
        self.children: dict[str, FakeChild] = {}

    async def launch(self, command: Command, *, stop_signal: int, output: Callable[[bytes], None]) -> Child:
        program = command.arguments[0]
        if program == "missing":
            raise FileNotFoundError(2, "No such file or directory")
        self.started.append(program)
        output(f"{program} speaks\n".encode())
        self.children[program] = FakeChild(len(self.started), self.ends.get(program))
        return self.children[program]


class SlowLauncher(FakeLauncher):
    """Needs its time to start a process: until ``go``."""

    def __init__(self, ends: dict[str, int]) -> None:
        super().__init__(ends)
        self.go = asyncio.Event()

    async def launch(self, command: Command, *, stop_signal: int, output: Callable[[bytes], None]) -> Child:
        await self.go.wait()
        return await super().launch(command, stop_signal=stop_signal, output=output)


async def turns(number: int) -> None:
    """Let the loop do what is to be done now."""
    for _ in range(number):
        await asyncio.sleep(0)


class Steps(Action, frozen=True, kw_only=True):
    async def perform(self) -> tuple[str, ...]:
        return ()


class WaitsForEver(Action, frozen=True, kw_only=True):
    waits: ClassVar[bool] = True

    async def perform(self) -> tuple[str, ...]:
        await asyncio.get_running_loop().create_future()
        return ()


class WorksForEver(WaitsForEver, frozen=True, kw_only=True):
    waits: ClassVar[bool] = False


class Watching:
    """Stops the supervisor when it is ready, and remembers the phases."""

    def __init__(self) -> None:
        self.stop: Callable[[], None] = lambda: None
        self.seen: list[tuple[str, Phase]] = []

    def changed(self, status: Status) -> None:
        if (status.resource.name, status.phase) not in self.seen:
            self.seen.append((status.resource.name, status.phase))

    def ready(self) -> None:
        self.stop()


def command(program: str) -> Command:
    return Command(arguments=(program,), folder=Path("/"))


def perform(plan: Plan, launcher: FakeLauncher) -> tuple[Watching, Supervision, Logs]:
    watching = Watching()
    rules = Supervision(plan, policy=RestartPolicy(base=0.0, cap=0.0))
    logs = Logs()

    async def run() -> None:
        supervisor = Supervisor(plan, rules, launcher=launcher, logs=logs, clock=lambda: 0.0)
        supervisor.observers = (watching,)
        watching.stop = supervisor.stop
        await asyncio.wait_for(supervisor.run(), 5)

    asyncio.run(run())
    logs.close()
    return watching, rules, logs


class Failing:
    """An observer that can do nothing right."""

    def changed(self, status: Status) -> None:
        raise OSError(28, "No space left on device")

    def ready(self) -> None:
        raise ValueError("no")


def test_an_observer_that_fails_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The others are told all the same, the platform comes up and ends in order, and the log has the traceback."""
    failing, watching = Failing(), Watching()
    plan = Plan(resources=(web(tmp_path),))
    logs = Logs()

    async def run() -> None:
        supervisor = Supervisor(plan, Supervision(plan), launcher=FakeLauncher({}), logs=logs, clock=lambda: 0.0)
        supervisor.observers = (failing, watching)
        watching.stop = supervisor.stop
        await asyncio.wait_for(supervisor.run(), 5)

    asyncio.run(run())
    logs.close()
    assert watching.seen[-1] == ("web", Phase.STOPPED)
    assert "No space left on device" in caplog.text


def web(folder: Path, program: str = "web") -> Process:
    return Process(
        name="web", label="web", stage=Stage.WEB, command=command(program), log=folder / "web.log", probe=At_once()
    )


class Twice(Probe, frozen=True, kw_only=True):
    """Says of the first process that it will never be ready, and is content with the second."""

    launcher: FakeLauncher

    async def check(self) -> None:
        if len(self.launcher.started) == 1:
            raise NeverReady("its port is taken")


def test_who_is_never_ready_is_killed_and_started_anew(tmp_path: Path) -> None:
    """What the probe says in this way is an order to the loop."""
    launcher = FakeLauncher({})
    process = msgspec.structs.replace(web(tmp_path), probe=Twice(launcher=launcher))
    watching, rules, _ = perform(Plan(resources=(process,)), launcher)
    assert launcher.started == ["web", "web"]
    assert ("web", Phase.READY) in watching.seen
    assert rules.failure is None


def test_it_starts_asks_announces_and_stops(tmp_path: Path) -> None:
    """A plan of each kind of resource comes up in its order, and each process gets its stop signal."""
    migrate = Task(
        name="migrate",
        label="migrate",
        stage=Stage.TASK,
        after=("step",),
        command=command("migrate"),
        log=tmp_path / "migrate.log",
        then=Steps(),
    )
    step = Step(name="step", label="step", stage=Stage.TASK, action=Steps())
    launcher = FakeLauncher({"migrate": 0})
    watching, rules, _ = perform(Plan(resources=(step, migrate, web(tmp_path))), launcher)
    assert launcher.started == ["web", "migrate"]
    assert ("migrate", Phase.DONE) in watching.seen
    assert launcher.children["web"].signals == [15]
    assert watching.seen[-1] == ("web", Phase.STOPPED)
    assert rules.failure is None


def test_what_processes_write_is_kept(tmp_path: Path) -> None:
    """Output goes to the log file and to the tail from which a failure is explained."""
    _, _, logs = perform(Plan(resources=(web(tmp_path),)), FakeLauncher({}))
    assert (tmp_path / "web.log").read_text() == "web speaks\n"
    assert logs.tail("web") == ["web speaks"]


def test_a_program_that_is_not_there_fails_as_one_that_dies(tmp_path: Path) -> None:
    """A process that can't be started at all ends the start after its tries, with the reason in its log."""
    _, rules, logs = perform(Plan(resources=(web(tmp_path, "missing"),)), FakeLauncher({}))
    assert rules.failure is not None
    assert rules.failure.status == 127
    assert "missing could not be started" in logs.tail("web")[0]


@pytest.mark.parametrize("stops", [1, 2])
def test_one_that_is_being_started_hears_that_it_is_to_end(tmp_path: Path, stops: int) -> None:
    """Who is told to end, or killed, before it is there ends all the same, and not only when its time is over."""
    rules = Supervision(Plan(resources=(web(tmp_path),)))
    launcher = SlowLauncher({})
    logs = Logs()

    async def run() -> None:
        supervisor = Supervisor(
            Plan(resources=(web(tmp_path),)), rules, launcher=launcher, logs=logs, clock=lambda: 0.0
        )
        running = asyncio.create_task(supervisor.run())
        for _ in range(stops):
            await turns(20)
            supervisor.stop()
        await turns(20)
        assert launcher.started == []
        launcher.go.set()
        await asyncio.wait_for(running, 2)

    asyncio.run(run())
    logs.close()
    assert rules.statuses["web"].phase is Phase.STOPPED


@pytest.mark.parametrize(("action", "stops"), [(WaitsForEver(), 1), (WorksForEver(), 2)])
def test_an_action_is_dropped_at_the_end(action: Action, stops: int) -> None:
    """One that only waits, as soon as all is to end; one that works is given its time, unless there is a hurry."""
    step = Step(name="step", label="step", stage=Stage.TASK, action=action)
    rules = Supervision(Plan(resources=(step,)))
    phases: list[Phase] = []

    async def run() -> None:
        supervisor = Supervisor(
            Plan(resources=(step,)), rules, launcher=FakeLauncher({}), logs=Logs(), clock=lambda: 0.0
        )
        running = asyncio.create_task(supervisor.run())
        for _ in range(stops):
            assert not running.done()
            supervisor.stop()
            for _ in range(20):
                await asyncio.sleep(0)
            phases.append(rules.statuses["step"].phase)
        await asyncio.wait_for(running, 5)

    asyncio.run(run())
    assert phases == [Phase.STOPPING] * (stops - 1) + [Phase.STOPPED]


class Counting(Probe, frozen=True, kw_only=True):
    """Ready, again and again; each question is noted under its name."""

    asked: ClassVar[list[str]] = []
    name: str

    async def check(self) -> None:
        self.asked.append(self.name)


def test_a_process_is_asked_as_it_is_described_now(tmp_path: Path) -> None:
    """After an update only the new probe asks; the process itself goes on."""
    Counting.asked.clear()

    async def run() -> FakeLauncher:
        launcher = FakeLauncher({})
        first = msgspec.structs.replace(web(tmp_path), probe=Counting(name="first", again=0.0))
        plan = Plan(resources=(first,))
        logs = Logs()
        supervisor = Supervisor(plan, Supervision(plan), launcher=launcher, logs=logs)
        running = asyncio.create_task(supervisor.run())
        while "first" not in Counting.asked:
            await turns(1)
        supervisor.update(msgspec.structs.replace(first, probe=Counting(name="second", again=0.0)))
        Counting.asked.clear()
        while len(Counting.asked) < 5:
            await turns(1)
        supervisor.stop()
        await running
        logs.close()
        return launcher

    assert asyncio.run(run()).started == ["web"]
    assert set(Counting.asked) == {"second"}
