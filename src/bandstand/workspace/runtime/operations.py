"""What the other commands do with a workspace that runs, or does not: stop, look, reload, run a command."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from bandstand.exceptions import NotRunning, WorkspaceError
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.runtime.facts import access
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.plan import environment_of
from bandstand.workspace.runtime.restarting import RestartRequest
from bandstand.workspace.runtime.state import (
    ProcessState,
    end_leftovers,
    foreign_state,
    is_same_process,
    memory,
    read_state,
    runner_to_signal,
    running,
    started_at,
)

__all__ = [
    "Overview",
    "change_passwords",
    "command_environment",
    "look",
    "reload_platform",
    "restart_services",
    "stop_platform",
]

# Longer than a worker may take to finish what it has begun.
_STOP_PATIENCE: Final = 40.0
_POLL: Final = 0.05


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What runs of a workspace: ``pid`` is the runner's, None when nothing runs; ``memory`` is in bytes."""

    pid: int | None
    ready: bool = False
    gateway: str = ""
    processes: tuple[ProcessState, ...] = ()
    memory: dict[str, int] = {}


def look(folder: StateFolder) -> Overview:
    """Return what runs now."""
    pid = running(folder)
    if pid is None:
        return Overview(pid=None)
    state = read_state(folder)
    pids = {process.name: process.pid for process in state.processes if process.pid is not None}
    return Overview(pid=pid, ready=state.ready, gateway=state.gateway, processes=state.processes, memory=memory(pids))


def stop_platform(folder: StateFolder, *, patience: float = _STOP_PATIENCE) -> int | None:
    """Stop the platform and wait until it has ended; return the runner's process id, or None when none ran.

    What a killed runner left behind is ended too.

    Raises:
        WorkspaceError: it did not end.
    """
    pid = runner_to_signal(folder)
    if pid is None:
        end_leftovers(folder)
        return None
    started = started_at(pid)

    def ended() -> bool:
        # It gives its lock back a moment before the process is gone.
        return running(folder) is None and not is_same_process(pid, started)

    # In order; then in a hurry; then by force, where the watchdog ends what the runner started.
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):
            if is_same_process(pid, started):
                os.kill(pid, number)
        if _eventually(ended, seconds):
            end_leftovers(folder)
            return pid
    raise WorkspaceError(f"The runner (process {pid}) does not end.", hint=f"Look at {folder.log('runner')}.")


def reload_platform(folder: StateFolder, *, patience: float = 90.0) -> tuple[bool, str]:
    """Let the runner read its manifest; return whether the gateway changed, and what stayed as it was.

    Raises:
        NotRunning: nothing runs.
        WorkspaceError: the manifest was refused, or there was no answer.
    """
    pid = runner_to_signal(folder)
    if pid is None:
        raise NotRunning("The platform is not running.", hint="Start it with `bandstand up`.")
    before = read_state(folder).reloading.begun  # the answer is to one that begins later, not to one under way
    os.kill(pid, signal.SIGUSR1)
    _until_answered(folder, pid, lambda: read_state(folder).reloading.number > before, patience)
    result = read_state(folder).reloading
    if result.refused:
        raise WorkspaceError(f"The old routes stay, because:\n{result.text}", hint="Mend it and reload again.")
    return result.changed, result.text


def restart_services(folder: StateFolder, services: Sequence[str], *, patience: float = 300.0) -> None:
    """Let the runner replace the processes of ``services`` one after the other, without a failed request.

    ``patience`` is in seconds for each service.

    Raises:
        NotRunning: nothing runs.
        WorkspaceError: a new process did not become ready, so that the old one stays, or there was no answer.
    """
    request = RestartRequest(services=tuple(services))
    hint = "The old process goes on. Look at its log, mend it, and restart again."
    _ask_runner(folder, request, patience=patience * len(services), hint=hint)


def change_passwords(folder: StateFolder, *, patience: float = 120.0) -> None:
    """Have the runner give the servers the passwords that ``secrets.json`` has now. ``patience`` is in seconds.

    Raises:
        NotRunning: nothing runs.
        WorkspaceError: a server did not take them, or there was no answer.
    """
    hint = f"Look at the server's log in {folder.logs}, and run the command again: it goes on from there."
    _ask_runner(folder, RestartRequest(passwords=True), patience=patience, hint=hint)


def _ask_runner(folder: StateFolder, request: RestartRequest, *, patience: float, hint: str) -> None:
    """Send ``request`` and wait for the answer; ``hint`` is what to do about a refusal."""
    pid = runner_to_signal(folder)
    if pid is None:
        raise NotRunning("The platform is not running.", hint="Start it with `bandstand up`.")
    with _turn(folder):
        before = read_state(folder).restarting.begun
        replace_file(folder.restart_request, msgspec.json.encode(request))
        os.kill(pid, signal.SIGUSR2)
        _until_answered(folder, pid, lambda: read_state(folder).restarting.number > before, patience)
        result = read_state(folder).restarting
    if result.failed:
        raise WorkspaceError(result.text, hint=hint)


def command_environment(workspace: Workspace, service: Service) -> tuple[dict[str, str], bool]:
    """Return the environment of a command of ``service``, and whether the platform runs.

    Raises:
        NotRunning: it never ran, so that there is no database that the command could use.
    """
    folder = StateFolder(workspace.state_folder)
    ports = read_state(folder).ports
    broker = workspace.servers.broker
    if not ports:
        raise NotRunning(
            "The platform was never started, so its services have no databases yet.",
            hint=f"{foreign_state(folder)} Start it with `bandstand up`.".strip(),
        )
    if not broker.is_external and broker.kind not in ports:
        raise NotRunning(
            f"The platform was never started with {broker.kind} as its broker.", hint="Start it with `bandstand up`."
        )
    return environment_of(workspace, service, access(workspace, ports)), running(folder) is not None


@contextmanager
def _turn(folder: StateFolder) -> Iterator[None]:
    """Wait until no other command asks for a restart: there is one place for a request, and one for the answer."""
    with folder.restart_turn.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _until_answered(folder: StateFolder, pid: int, answered: Callable[[], bool], patience: float) -> None:
    """Wait for the answer of the runner ``pid``: the next one knows nothing of the question."""
    if not _eventually(lambda: answered() or running(folder) != pid, patience):
        raise WorkspaceError("The runner did not answer.", hint=f"Look at {folder.log('runner')}.")
    if not answered():
        raise NotRunning("The platform ended before it could do that.", hint="Start it with `bandstand up`.")


def _eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
