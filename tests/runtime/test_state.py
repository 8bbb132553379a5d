"""What a run writes for others, and how stale words are told from true ones."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bandstand.exceptions import AlreadyRunning, WorkspaceError
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.state import (
    ProcessState,
    RunState,
    claim,
    end_leftovers,
    is_same_process,
    read_state,
    running,
    started_at,
    write_state,
)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder.of(tmp_path)
    folder.prepare()
    return folder


def test_state_is_read_back(folder: StateFolder) -> None:
    """What one command writes another reads."""
    process = ProcessState(name="a", label="A", kind="process", state="ready")
    state = RunState(platform="shop", ports={"a": 1}, processes=(process,))
    write_state(folder, state)
    assert read_state(folder) == state


@pytest.mark.parametrize("content", ["", "{", '{"ports": []}'])
def test_a_broken_state_is_an_empty_one(folder: StateFolder, content: str) -> None:
    """Half a file, or one of another version, does not keep anybody from starting."""
    folder.state.write_text(content)
    assert read_state(folder) == RunState()


def test_only_one_runner_at_a_time(folder: StateFolder) -> None:
    """A second claim is refused, and told the process and what to do; after the first has ended it succeeds."""
    with claim(folder):
        assert running(folder) == os.getpid()
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}") as caught, claim(folder):
            pass
        assert "bandstand down" in caught.value.hint
    assert running(folder) is None
    with claim(folder):
        pass


def test_something_else_in_place_of_the_lock(folder: StateFolder) -> None:
    """A folder where the lock should be is named, with what to do, by who wants to run and by who only looks."""
    folder.lock.mkdir()
    for use in (lambda: claim(folder).__enter__(), lambda: running(folder)):
        with pytest.raises(WorkspaceError, match=f"{folder.lock} can't be opened: Is a directory") as caught:
            use()
        assert "Remove what is there" in caught.value.hint


def _claim_and_die(root: Path) -> None:
    with claim(StateFolder(root)):
        os.kill(os.getpid(), 9)


def test_a_killed_runner_does_not_hold_its_claim(folder: StateFolder) -> None:
    """The system gives the lock back, whatever stands in the file."""
    child = multiprocessing.get_context("spawn").Process(target=_claim_and_die, args=(folder.root,))
    child.start()
    child.join()
    child.close()
    assert folder.lock.read_text().strip()
    assert running(folder) is None
    with claim(folder):
        pass


def test_a_process_is_known_by_its_id_and_its_start() -> None:
    """Another process that got the same id later, after a reboot say, is another one."""
    pid, started = os.getpid(), started_at(os.getpid())
    assert started is not None
    assert is_same_process(pid, started)
    assert not is_same_process(pid, started - 3600)
    assert not is_same_process(None, None)


def test_strangers_with_an_old_id_are_left_alone(folder: StateFolder) -> None:
    """What a state names but did not start is not ended."""
    stale = ProcessState(name="web", label="web", kind="process", state="ready", pid=os.getpid(), started=1.0)
    assert end_leftovers(RunState(processes=(stale,))) == ()
    assert psutil.Process().is_running()


def test_what_is_left_of_a_run_is_ended() -> None:
    """First kindly, then for certain; a process that ended and was not reaped by anybody is not waited for."""
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE, start_new_session=True) as left:
        assert left.stdout is not None
        left.stdout.readline()
        process = ProcessState(
            name="nats", label="NATS", kind="process", state="ready", pid=left.pid, started=started_at(left.pid)
        )
        assert end_leftovers(RunState(processes=(process,)), grace=0.05) == ("nats",)
        assert psutil.Process(left.pid).status() == psutil.STATUS_ZOMBIE
