"""What the commands make of a runner's answers, with a runner that only writes its state."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Event, Lock, current_thread, main_thread
from types import FrameType, SimpleNamespace

import msgspec
import pytest

from bandstand.exceptions import NotRunning, WorkspaceError
from bandstand.workspace.runtime import operations
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.operations import reload_platform, restart_services, stop_platform
from bandstand.workspace.runtime.origin import Origin
from bandstand.workspace.runtime.state import Reloading, Restarting, RunState, claim, write_state

Turn = Callable[[], None]


class Runner:
    """Holds the lock of a workspace until ``end()``; at each look of a command it does the next of its ``turns``."""

    def __init__(self, root: Path) -> None:
        self.folder = StateFolder.of(root)
        self.folder.prepare()
        self.asked = 0
        self.turns: list[Turn] = []
        self._state = RunState(origin=Origin.of(self.folder.root), pid=os.getpid())
        self._lock = ExitStack()
        self._lock.enter_context(claim(self.folder))

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1

    def look(self, seconds: float) -> None:
        self.turns.pop(0)()

    def write(self, **answers: Reloading | Restarting) -> None:
        write_state(self.folder, msgspec.structs.replace(self._state, **answers))

    def end(self) -> None:
        self._lock.close()


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    runner = Runner(tmp_path)
    monkeypatch.setattr(operations, "time", SimpleNamespace(sleep=runner.look, monotonic=lambda: 0.0))
    before = {number: signal.signal(number, runner.hear) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    yield runner
    for number, handler in before.items():
        signal.signal(number, handler)
    runner.end()


def test_a_reload_under_way_is_no_answer(runner: Runner) -> None:
    """It may have read the manifest before the change; the one that begins after the question counts."""
    runner.write(reloading=Reloading(begun=3, number=2))
    runner.turns = [
        lambda: runner.write(reloading=Reloading(begun=3, number=3, changed=False)),
        lambda: runner.write(reloading=Reloading(begun=4, number=3)),
        lambda: runner.write(reloading=Reloading(begun=4, number=4, changed=True, text="later")),
    ]
    assert reload_platform(runner.folder) == (True, "later")
    assert runner.asked == 1


def test_a_platform_is_stopped_once_its_runner_is_gone(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives its lock back before its process ends, and whoever starts the next one must not meet it."""
    monkeypatch.setattr(operations, "is_same_process", lambda pid, started: bool(runner.turns))
    runner.write()
    runner.turns = [runner.end, lambda: None]
    assert stop_platform(runner.folder) == os.getpid()
    assert runner.asked == 1
    assert runner.turns == []


@pytest.mark.parametrize(
    "command", [stop_platform, reload_platform, lambda folder: restart_services(folder, ["user-service"])]
)
def test_nobody_is_signalled_in_place_of_a_runner_that_just_begins(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, command: Callable[[StateFolder], object]
) -> None:
    """A lock without a process id would stand for process 0, which is the group of whoever asks."""
    runner.folder.lock.write_text("")
    monkeypatch.setattr("bandstand.workspace.runtime.state.time", SimpleNamespace(sleep=lambda seconds: None))
    with pytest.raises(WorkspaceError, match="does not say by which process"):
        command(runner.folder)
    assert runner.asked == 0


def test_a_restart_under_way_is_no_answer(runner: Runner) -> None:
    """It is that of other services; how one's own went is told afterwards."""
    runner.write(restarting=Restarting(begun=1, number=0))
    runner.turns = [
        lambda: runner.write(restarting=Restarting(begun=1, number=1)),
        lambda: runner.write(restarting=Restarting(begun=2, number=2, failed=True, text="it ended with status 1")),
    ]
    with pytest.raises(WorkspaceError, match="it ended with status 1"):
        restart_services(runner.folder, ["user-service"])
    assert msgspec.json.decode(runner.folder.restart_request.read_bytes())["services"] == ["user-service"]


def test_a_runner_that_ends_is_not_waited_for(runner: Runner) -> None:
    """Nobody answers any more, so whoever asked is told now and not when patience ends."""
    runner.write()
    runner.turns = [runner.end]
    with pytest.raises(NotRunning, match="ended before"):
        restart_services(runner.folder, ["user-service"])


def test_another_runner_is_not_waited_for(runner: Runner) -> None:
    """Who starts the platform anew meanwhile knows nothing of the question."""

    def start_another() -> None:
        runner.folder.lock.write_text("1\n")

    runner.write()
    runner.turns = [start_another]
    with pytest.raises(NotRunning, match="ended before"):
        reload_platform(runner.folder)


def two_restarts(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Ask for two restarts, the second while the first waits for its answer; return what the runner gets to read."""
    heard: list[list[str]] = []
    second_waits, answering = Event(), Lock()

    def lock(file: int, kind: int) -> None:
        if current_thread() is not main_thread():
            second_waits.set()  # for its turn
        fcntl.flock(file, kind)

    def look(_seconds: float) -> None:
        if current_thread() is not main_thread():
            second_waits.set()  # for its answer
        elif not started:
            started.append(threads.submit(restart_services, runner.folder, ["order-service"]))
        assert second_waits.wait(60)
        with answering:
            request = runner.folder.restart_request
            if request.exists():
                heard.append(msgspec.json.decode(request.read_bytes())["services"])
                request.unlink()
                runner.write(restarting=Restarting(begun=len(heard), number=len(heard)))

    monkeypatch.setattr(operations, "fcntl", SimpleNamespace(flock=lock, LOCK_EX=fcntl.LOCK_EX))
    monkeypatch.setattr(operations, "time", SimpleNamespace(sleep=look, monotonic=lambda: 0.0))
    runner.write()
    started: list[Future[None]] = []
    with ThreadPoolExecutor(1) as threads:
        restart_services(runner.folder, ["user-service"])
        started[0].result(60)
    return heard


def test_two_restarts_at_once(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command has its turn: the runner reads both requests, one after the other."""
    assert two_restarts(runner, monkeypatch) == [["user-service"], ["order-service"]]


def test_without_a_turn_one_of_two_is_lost(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the turn that keeps the second request from taking the place of the first."""
    monkeypatch.setattr(operations, "_turn", nullcontext)
    assert two_restarts(runner, monkeypatch) == [["order-service"]]
