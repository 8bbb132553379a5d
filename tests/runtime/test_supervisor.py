"""The loop, with processes that do not exist and a clock that is set: it does what the rules say."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from bandstand.workspace.runtime.launcher import Child
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.resources import Action, Command, Plan, Probe, Process, Stage, Step, Task
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


class Steps(Action, frozen=True, kw_only=True):
    async def perform(self) -> tuple[str, ...]:
        return ()


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


def web(folder: Path, program: str = "web") -> Process:
    return Process(
        name="web", label="web", stage=Stage.WEB, command=command(program), log=folder / "web.log", probe=At_once()
    )


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
