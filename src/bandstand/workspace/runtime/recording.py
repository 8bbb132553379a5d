"""Keeps ``state.json`` true, for `ps`, `down` and the next start."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.origin import Origin
from bandstand.workspace.runtime.resources import Process, Step
from bandstand.workspace.runtime.state import ProcessState, Reloading, Restarting, RunState, started_at, write_state
from bandstand.workspace.runtime.supervision import Status
from bandstand.workspace.runtime.writes import PendingWrites

__all__ = ["Recorder"]

_STEP: Final = Step.__name__.lower()


class Recorder:
    """Writes the state of the run whenever something changes.

    ``pid_of`` returns the process id of a resource that runs now; ``writes`` repeats what the disk does not take.
    """

    def __init__(
        self,
        folder: StateFolder,
        *,
        platform: str,
        ports: Mapping[str, int],
        pid_of: Callable[[str], int | None],
        writes: PendingWrites | None = None,
    ) -> None:
        self._folder = folder
        self._writes = writes or PendingWrites()
        self._pid_of = pid_of
        self._processes: dict[str, ProcessState] = {}
        self._places: dict[str, str] = {}
        self._state = RunState(
            origin=Origin.of(folder.root),
            platform=platform,
            pid=os.getpid(),
            started=started_at(os.getpid()) or 0.0,
            gateway=f"http://127.0.0.1:{ports['gateway']}" if "gateway" in ports else "",
            ports=dict(ports),
        )

    def changed(self, status: Status) -> None:
        name = status.resource.name
        before = self._processes.get(name)
        self._processes[name] = self._describe(status, before)
        if isinstance(status.resource, Process):
            self._places[name] = status.resource.place or name
        if status.gone and status.phase is Phase.STOPPED:
            del self._processes[name]
            del self._places[name]
        self._write()

    def ready(self) -> None:
        self._state = msgspec.structs.replace(self._state, ready=True)
        self._write()

    def reloads(self) -> None:
        """Note that the manifest is about to be read."""
        before = self._state.reloading
        self._note(reloading=msgspec.structs.replace(before, begun=before.begun + 1))

    def reloaded(self, text: str, *, changed: bool = False, refused: bool = False) -> None:
        """Note how that went."""
        begun = self._state.reloading.begun
        self._note(reloading=Reloading(number=begun, begun=begun, changed=changed, refused=refused, text=text))

    def restarts(self) -> None:
        """Note that processes are about to be replaced."""
        before = self._state.restarting
        self._note(restarting=msgspec.structs.replace(before, begun=before.begun + 1))

    def restarted(self, text: str, *, failed: bool = False) -> None:
        """Note how that went."""
        begun = self._state.restarting.begun
        self._note(restarting=Restarting(number=begun, begun=begun, failed=failed, text=text))

    def _note(self, **changes: Reloading | Restarting) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)
        self._write()

    def end(self) -> None:
        """Keep what the next run wants to know, and say that nothing runs."""
        self._processes = {}
        self._state = msgspec.structs.replace(self._state, pid=0, started=0.0, ready=False)
        self._write()

    def _describe(self, status: Status, before: ProcessState | None) -> ProcessState:
        resource = status.resource
        pid = self._pid_of(resource.name)
        known = before is not None and before.pid == pid
        return ProcessState(
            name=resource.name,
            label=resource.label,
            kind=type(resource).__name__.lower(),
            state="skipped" if status.skipped else str(status.phase),
            service=resource.service,
            pid=pid,
            started=before.started if before is not None and known else _started(pid),
            port=resource.port if isinstance(resource, Process) else None,
            url=resource.url if isinstance(resource, Process) else None,
            restarts=status.restarts,
            since=before.since if before is not None and before.state == status.phase else time.time(),
            reason=status.reason,
        )

    def _write(self) -> None:
        self._writes.attempt(self._folder.state.name, self._replace)

    def _replace(self) -> None:
        shown = tuple(self._shown(process) for process in self._processes.values() if process.kind != _STEP)
        write_state(self._folder, msgspec.structs.replace(self._state, processes=shown))

    def _shown(self, process: ProcessState) -> ProcessState:
        """Under the name that the plan has for its place, unless two processes share that now."""
        place = self._places.get(process.name, process.name)
        alone = sum(other == place for other in self._places.values()) < 2
        return msgspec.structs.replace(process, name=place) if alone else process


def _started(pid: int | None) -> float | None:
    return None if pid is None else started_at(pid)
