"""What a run writes for others, and how stale words are told from true ones."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import pytest

from bandstand.exceptions import AlreadyRunning, WorkspaceError
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.operations import stop_platform
from bandstand.workspace.runtime.origin import Origin
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.state import (
    ProcessState,
    RunState,
    claim,
    end_leftovers,
    foreign_state,
    is_same_process,
    read_state,
    runner_to_signal,
    running,
    started_at,
    write_state,
)
from bandstand.workspace.runtime.writes import PendingWrites
from tests.limits import full_disk


def hard_links(source: Path, target: Path) -> None:
    """Copy a folder by hard links, as ``cp -al`` does."""
    shutil.copytree(source, target, copy_function=os.link)


def archive(source: Path, target: Path) -> None:
    """Copy a folder through an archive of ``tar``."""
    file = shutil.make_archive(str(source.parent / "archive"), "tar", source)
    target.mkdir(parents=True)
    subprocess.run(["tar", "-xf", file, "-C", target], check=True)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder.of(tmp_path / "shop")
    folder.prepare()
    return folder


def test_state_is_read_back(folder: StateFolder) -> None:
    """What one command writes another reads."""
    process = ProcessState(name="a", label="A", kind="process", state="ready")
    state = RunState(origin=Origin.of(folder.root), platform="shop", ports={"a": 1}, processes=(process,))
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
    write_state(folder, RunState(origin=Origin.of(folder.root), processes=(stale,)))
    assert end_leftovers(folder) == ()
    assert psutil.Process().is_running()


def test_what_is_left_of_a_run_is_ended(folder: StateFolder) -> None:
    """First kindly, then for certain; a process that ended and was not reaped by anybody is not waited for."""
    with left_over(folder) as left:
        write_state(folder, state_of(folder, left.pid))
        assert end_leftovers(folder, grace=0.05) == ("nats",)
        assert psutil.Process(left.pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("copied", [shutil.copytree, hard_links, archive])
def test_a_copy_of_a_folder_ends_nothing_of_the_original(
    folder: StateFolder, tmp_path: Path, copied: Callable[[Path, Path], object]
) -> None:
    """The state of a copied folder names the processes of the original: it is ignored, with one sentence."""
    with left_over(folder) as left:
        write_state(folder, state_of(folder, left.pid))
        copied(folder.root, tmp_path / "copy" / ".bandstand")
        copy = StateFolder.of(tmp_path / "copy")
        assert end_leftovers(copy, grace=0.05) == ()
        assert read_state(copy) == RunState()
        assert f"was written in {folder.root}" in foreign_state(copy)
        assert not foreign_state(folder)
        assert left.poll() is None
        left.kill()


def test_a_copy_in_the_place_of_the_original(folder: StateFolder, tmp_path: Path) -> None:
    """The folder that was moved is still the same; a copy under its old path is not."""
    with left_over(folder) as left:
        write_state(folder, state_of(folder, left.pid))
        moved = StateFolder(folder.root.rename(tmp_path / "moved"))
        shutil.copytree(moved.root, folder.root)
        assert end_leftovers(folder, grace=0.05) == ()
        assert left.poll() is None
        assert read_state(moved).ports == {"nats": 1}
        left.kill()


def test_a_file_system_with_the_same_numbers(folder: StateFolder, tmp_path: Path) -> None:
    """An inode number says nothing without its file system, unless the path is the same, as after a reboot."""
    (tmp_path / "copy").mkdir()
    there, now = Origin.of(tmp_path / "copy"), Origin.of(folder.root)
    assert not msgspec.structs.replace(there, inode=now.inode, device=now.device + 1).is_at(folder.root)
    assert msgspec.structs.replace(now, device=now.device + 1).is_at(folder.root)
    assert msgspec.structs.replace(now, path="/moved/from/here").is_at(folder.root)
    assert not now.is_at(tmp_path / "missing")


def test_only_a_process_of_this_folder_is_ended(folder: StateFolder, tmp_path: Path) -> None:
    """Also where the id and the start fit: the process must work below the folder, or have been given a path in it."""
    elsewhere = StateFolder.of(tmp_path / "elsewhere")
    elsewhere.prepare()
    with left_over(elsewhere) as left:
        write_state(folder, state_of(folder, left.pid))
        assert end_leftovers(folder, grace=0.05) == ()
        assert left.poll() is None
        left.kill()
    with left_over(elsewhere, KEY=str(folder.keys / "service.pem")) as left:
        write_state(folder, state_of(folder, left.pid))
        assert end_leftovers(folder, grace=0.05) == ("nats",)


def test_a_lock_that_a_copy_shares_with_the_original(folder: StateFolder, tmp_path: Path) -> None:
    """A copy by hard links has the lock file of the original: it is not the one that runs, and makes its own."""
    with claim(folder):
        hard_links(folder.root, tmp_path / "copy" / ".bandstand")
        copy = StateFolder.of(tmp_path / "copy")
        assert running(copy) is None
        assert runner_to_signal(copy) is None
        with claim(copy):
            assert running(copy) == running(folder) == os.getpid()
        assert runner_to_signal(folder) == os.getpid()


def test_a_holder_that_can_not_be_seen_is_not_signalled(folder: StateFolder) -> None:
    """In another container the runner has another id: the one that it wrote is here a process without the lock."""
    with claim(folder), subprocess.Popen(["sleep", "60"]) as stranger:
        text = folder.lock.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{stranger.pid}')
        folder.lock.write_text(text)
        with pytest.raises(WorkspaceError, match="can't be seen from here"):
            stop_platform(folder)
        assert stranger.poll() is None
        stranger.kill()


def test_a_full_disk_names_the_file(folder: StateFolder) -> None:
    """A command that can't write says which file that was; the state that was there stays, and nothing is left over."""
    write_state(folder, RunState(platform="shop"))
    before = folder.state.read_bytes()
    with full_disk(), pytest.raises(OSError, match=str(folder.state)):
        write_state(folder, RunState(platform="other"))
    assert folder.state.read_bytes() == before
    assert not list(folder.root.glob(".state*"))
    with full_disk(), pytest.raises(OSError, match=str(folder.lock)), claim(folder):
        pass
    assert running(folder) is None


def test_a_record_is_made_up_for(folder: StateFolder) -> None:
    """A state that could not be written is written when there is room again, as it is then."""
    said: list[str] = []
    writes = PendingWrites(said.append)
    recorder = Recorder(folder, platform="shop", ports={"nats": 1}, pid_of=lambda _: None, writes=writes)
    with full_disk():
        recorder.ready()
        recorder.reloads()
    assert len(said) == 1
    writes.retry()
    assert (read_state(folder).ready, read_state(folder).reloading.begun) == (True, 1)


@contextmanager
def left_over(folder: StateFolder, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works in ``folder`` and obeys no SIGTERM."""
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", ignoring],
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=folder.nats,
        env={**os.environ, **environment},
    ) as left:
        assert left.stdout is not None
        left.stdout.readline()
        try:
            yield left
        finally:
            left.kill()


def state_of(folder: StateFolder, pid: int) -> RunState:
    process = ProcessState(
        name="nats", label="NATS", kind="process", state="ready", pid=pid, started=started_at(pid), port=1
    )
    return RunState(origin=Origin.of(folder.root), ports={"nats": 1}, processes=(process,))
