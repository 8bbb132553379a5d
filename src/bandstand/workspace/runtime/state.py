"""What a run tells the other commands: ``state.json``, and the lock that says whether it is true."""

import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Final, cast

import msgspec
import psutil

from bandstand.exceptions import AlreadyRunning, WorkspaceError
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.origin import Origin, belongs_to, holds_open

__all__ = [
    "ProcessState",
    "Reloading",
    "Restarting",
    "RunState",
    "claim",
    "end_leftovers",
    "foreign_state",
    "is_same_process",
    "read_state",
    "runner_to_signal",
    "running",
    "started_at",
    "write_state",
]

_DYING: Final = 5.0  # seconds that a killed process may take to be gone, on a machine with much to do


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One resource as `bandstand ps` shows it. ``since`` is in seconds since 1970, ``started`` is the system's own."""

    name: str
    label: str
    kind: str
    state: str
    service: str | None = None
    pid: int | None = None
    started: float | None = None
    port: int | None = None
    url: str | None = None
    restarts: int = 0
    since: float = 0.0
    reason: str = ""


class Reloading(msgspec.Struct, frozen=True, kw_only=True):
    """How the last reading of the manifest went: that of this ``number``, while ``begun`` counts those that began.

    ``text`` says why it was ``refused``, or what of it comes true only at the next start.
    """

    number: int = 0
    begun: int = 0
    changed: bool = False
    refused: bool = False
    text: str = ""


class Restarting(msgspec.Struct, frozen=True, kw_only=True):
    """How the last restart of processes went, counted likewise. ``text`` says why one ``failed``."""

    number: int = 0
    begun: int = 0
    failed: bool = False
    text: str = ""


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a workspace. ``ports`` outlives it, so that the next run has the same addresses.

    ``origin`` is the folder that it was written in, which is another one where the file was copied.
    """

    version: int = 1
    origin: Origin | None = None
    platform: str = ""
    pid: int = 0
    started: float = 0.0
    ready: bool = False
    gateway: str = ""
    ports: dict[str, int] = {}
    processes: tuple[ProcessState, ...] = ()
    reloading: Reloading = Reloading()
    restarting: Restarting = Restarting()

    @property
    def services(self) -> dict[str, str]:
        """The URL of each service's web process."""
        return {
            process.service: process.url
            for process in self.processes
            if process.service and process.url and process.kind == "process"
        }


def read_state(folder: StateFolder) -> RunState:
    """Return the last state that was written in this folder.

    It is empty when there is none, when it can't be read, and when it came from another folder: its processes and
    ports are that folder's.
    """
    state = _written_state(folder)
    return state if state is not None and _is_from_here(state, folder) else RunState()


def foreign_state(folder: StateFolder) -> str:
    """Return a sentence about a state file that came from another folder; an empty text when it did not."""
    state = _written_state(folder)
    if state is None or _is_from_here(state, folder):
        return ""
    written = f"was written in {state.origin.path}" if state.origin else "does not say in which folder it was written"
    return f"{folder.state} {written}, so it is ignored: no process of another folder is touched."


def _written_state(folder: StateFolder) -> RunState | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(folder.state.read_bytes(), type=RunState)
    return None


def _is_from_here(state: RunState, folder: StateFolder) -> bool:
    return state.origin is not None and state.origin.is_at(folder.root)


def write_state(folder: StateFolder, state: RunState) -> None:
    replace_file(folder.state, msgspec.json.format(msgspec.json.encode(state)))


class _Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds the lock, as the lock file names it."""

    pid: int
    started: float
    origin: Origin


@contextmanager
def claim(folder: StateFolder) -> Iterator[None]:
    """Be the one runner of the workspace. The system gives the lock back however this process ends.

    Raises:
        AlreadyRunning: another one is.
        WorkspaceError: the lock can't be opened.
    """
    with _locked(folder) as file:
        pid = os.getpid()
        holder = _Holder(pid=pid, started=started_at(pid) or 0.0, origin=Origin.of(folder.root))
        try:
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), msgspec.json.encode(holder))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder.lock)) from error
        yield


def _locked(folder: StateFolder) -> IO[str]:
    """Return the lock file with the lock on it."""
    file = _opened_lock(folder, "a+")
    if _try_often(file):
        return file
    if _holder_is_elsewhere(folder):  # a copy by hard links shares the file with the original
        file.close()
        folder.lock.unlink()
        file = _opened_lock(folder, "a+")
        if _try_often(file):
            return file
    file.close()
    raise _already_running(folder)


def _opened_lock(folder: StateFolder, mode: str) -> IO[str]:
    try:
        return cast("IO[str]", folder.lock.open(mode))
    except OSError as error:
        raise WorkspaceError(
            f"{folder.lock} can't be opened: {error.strerror}. It is the file that says whether the platform runs.",
            hint=f"Remove what is there in its place, or run as the owner of {folder.root}.",
        ) from error


def _try_often(file: IO[str]) -> bool:
    return any(_try_lock(file.fileno()) for _ in range(5))


def _try_lock(descriptor: int) -> bool:
    """A command that only looks holds the lock for a moment, so one refusal says nothing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.02)
        return False
    return True


def running(folder: StateFolder) -> int | None:
    """Return the process id of the workspace's runner, or None when it does not run."""
    if not folder.lock.exists():
        return None
    with _opened_lock(folder, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return None if _holder_is_elsewhere(folder) else _written_pid(folder)
    return None


def runner_to_signal(folder: StateFolder) -> int | None:
    """Return the process id of the workspace's runner, which is the process that has this lock open; else None.

    Raises:
        WorkspaceError: the lock does not say yet by which process it is held, or that process can't be seen from here;
            its id may be another one's.
    """
    pid = running(folder)
    if pid is None:
        return None
    if pid == 0:  # a signal to it would go to this command and its shell
        raise WorkspaceError(
            f"{folder.lock} is held, but does not say by which process.", hint="It begins just now: try again."
        )
    if not holds_open(pid, folder.lock):
        if running(folder) is None:  # it has ended meanwhile
            return None
        raise WorkspaceError(
            f"{folder.lock} is held by a process that can't be seen from here; it calls itself {pid}.",
            hint="It runs in another container or as another user: run this command there.",
        )
    return pid


def _holder(folder: StateFolder) -> _Holder | None:
    """Return the holder of the lock, which it writes a moment after taking it; None where it does not."""
    for _ in range(50):
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(folder.lock.read_bytes(), type=_Holder)
        time.sleep(0.01)
    return None


def _written_pid(folder: StateFolder) -> int:
    holder = _holder(folder)
    return holder.pid if holder is not None else 0


def _holder_is_elsewhere(folder: StateFolder) -> bool:
    holder = _holder(folder)
    return holder is not None and not holder.origin.is_at(folder.root)


def _already_running(folder: StateFolder) -> AlreadyRunning:
    pid, state = _written_pid(folder), read_state(folder)
    address = f", {state.gateway}" if state.gateway else ""
    return AlreadyRunning(
        f"The platform {state.platform or folder.root.parent.name} is running already (process {pid}{address}).",
        hint="See it with `bandstand ps`; stop it with `bandstand down`; after a change of routes, `bandstand reload`.",
    )


def started_at(pid: int) -> float | None:
    """Return when a process started, by the system's clock: with the id it names a process for ever."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def is_same_process(pid: int | None, started: float | None) -> bool:
    """Tell whether the process that had the id ``pid`` then still runs: not a zombie, not another with the same id."""
    if pid is None or started is None:
        return False
    try:
        process = psutil.Process(pid)
        # The kernel tells it in hundredths of a second since the boot, whose time the clock may have shifted.
        return abs(process.create_time() - started) < 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_leftovers(folder: StateFolder, *, grace: float = 5.0) -> tuple[str, ...]:
    """End what an earlier run left behind, which needs its runner and its watchdog killed; return the names.

    Only processes of this very folder are signalled: a state that was copied names those of the original.
    """
    left = [process for process in read_state(folder).processes if _is_left(process, folder)]
    for process in left:
        _signal_group(cast("int", process.pid), signal.SIGTERM)
    for process in _outlasting(left, grace):
        _signal_group(cast("int", process.pid), signal.SIGKILL)
    _outlasting(left, _DYING)
    return tuple(process.name for process in left)


def _is_left(process: ProcessState, folder: StateFolder) -> bool:
    return process.pid is not None and _still_runs(process) and belongs_to(psutil.Process(process.pid), folder.root)


def _outlasting(processes: list[ProcessState], seconds: float) -> list[ProcessState]:
    """Wait until none of ``processes`` runs any more; return those that still do after ``seconds``."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _still_runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _still_runs(process: ProcessState) -> bool:
    return is_same_process(process.pid, process.started)


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def memory(pids: Mapping[str, int]) -> dict[str, int]:
    """Return the memory in bytes that each process takes up with all that it started, shared pages divided."""
    return {name: _tree_memory(pid) for name, pid in pids.items()}


def _tree_memory(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += _own_memory(member)
    return total


def _own_memory(process: psutil.Process) -> int:
    """The proportional set size where the system tells it, since PostgreSQL's processes share most of theirs."""
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    return int(getattr(full, "pss", full.uss))
