"""Replaces the processes of services while the platform runs, without a failed request, and their passwords.

The new process starts beside the old one. Once it is ready, gateway and services are told of both; then of the new one
alone; then the old one is asked to end, and finishes what it has begun. When the new one does not become ready or does
not stay so, or when the gateway does not take it, the old one stays.
"""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from bandstand.conf import wire
from bandstand.exceptions import ServerFailed
from bandstand.workspace.manifest import Service
from bandstand.workspace.runtime.credentials import load_credentials
from bandstand.workspace.runtime.facts import Facts
from bandstand.workspace.runtime.failures import reason_of
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.plan import DATABASES, make_plan
from bandstand.workspace.runtime.ports import Reservations, free_port
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.reports import Notice, Reporter
from bandstand.workspace.runtime.resources import Process, Stage, Step
from bandstand.workspace.runtime.supervision import Status

__all__ = ["RestartRequest", "Restarter", "renamed"]

_PATIENCE: Final = 30.0  # seconds that a server has to read its users again
_PROBATION: Final = 1.0  # seconds that the new process must stay ready, with requests, beside the old one


class RestartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A command's wish: the servers get the ``passwords`` that changed, then ``services`` get new processes."""

    services: tuple[str, ...] = ()
    passwords: bool = False


class Crew(Protocol):
    """Whoever runs processes: a session."""

    def join(self, process: Process) -> None:
        """Run one more process."""

    def leave(self, name: str) -> None:
        """End a process for good."""

    def update(self, process: Process) -> None:
        """Watch a process that runs as ``process`` has it from now on."""


class Restarter:
    """Restarts services when it is asked to, one process at a time. It is an observer, so that it knows what became."""

    def __init__(
        self,
        crew: Crew,
        publisher: Publisher,
        recorder: Recorder,
        facts: Facts,
        report: Reporter,
        *,
        ports: Reservations,
    ) -> None:
        self._crew = crew
        self._publisher = publisher
        self._recorder = recorder
        self._facts = facts
        self._report = report
        self._ports = ports
        self._asked = asyncio.Event()
        self._names: dict[str, str] = {}  # of the process that has the place of the planned one now
        self._number = 1
        self._ready = False
        self._statuses: dict[str, Status] = {}
        self._news = asyncio.Event()

    def request(self) -> None:
        """Look soon which services are to be restarted."""
        self._asked.set()

    def changed(self, status: Status) -> None:
        """Note what became of a process."""
        self._statuses[status.resource.name] = status
        self._news.set()

    def ready(self) -> None:
        """Only what is there can be replaced."""
        self._ready = True

    async def watch(self) -> None:
        """Restart what is asked for, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            if (request := self._requested()) != RestartRequest():
                self._recorder.restarts()
                fault = await self._fault_of(request)
                if fault:
                    self._report(Notice(text=fault))
                self._recorder.restarted(fault, failed=bool(fault))

    def _requested(self) -> RestartRequest:
        """The file is taken away, so that nothing is done twice."""
        path = self._facts.folder.restart_request
        request = RestartRequest()
        with suppress(OSError, msgspec.MsgspecError):
            request = msgspec.json.decode(path.read_bytes(), type=RestartRequest)
        with suppress(OSError):  # a disk that takes nothing any more; the next request replaces it
            path.unlink(missing_ok=True)
        return request

    async def _fault_of(self, request: RestartRequest) -> str:
        """Do what was asked for; return why that was not possible, nothing where it was."""
        try:
            return await self._perform(request) or ""
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the next restart is to be heard
            return reason_of(error)

    async def _perform(self, request: RestartRequest) -> str | None:
        """Replace passwords and processes; return why that was not possible."""
        if not self._ready:
            return "The platform is still starting, so there is nothing to restart yet."
        place = self._publisher.workspace
        if strange := [name for name in request.services if name not in place.service_names]:
            return f"The platform was started without {', '.join(strange)}: `bandstand down`, then `bandstand up`."
        if request.passwords:
            await self._change_passwords()
        for service in map(place.service, request.services):
            for process in service.processes:
                if (fault := await self._replace(service, process.name)) is not None:
                    return fault
        return None

    async def _change_passwords(self) -> None:
        """Give the servers the passwords that the file has now; new processes are told of them when they start."""
        place, folder = self._publisher.workspace, self._facts.folder
        credentials = load_credentials(folder.credentials, place.service_names)
        facts = msgspec.structs.replace(self._facts, credentials=credentials, has_cluster=True)
        plan = make_plan(place, facts)
        servers = [each for each in plan.resources if isinstance(each, Process) and each.stage is Stage.SERVER]
        for server in servers:
            for file in plan.files:
                if file.path.parent == server.command.folder:  # the gateway's tell where instances are, as of a start
                    replace_file(file.path, file.content)
            if server.reread is not None:
                async with asyncio.timeout(_PATIENCE):
                    await server.reread.perform()
        databases = plan.resource(DATABASES)
        assert isinstance(databases, Step)
        await databases.action.perform()
        for server in servers:
            self._crew.update(server)
        self._facts = facts

    async def _replace(self, service: Service, base: str) -> str | None:
        old = self._names.get(base, base)
        new = self._prepared(service, base)
        self._report(Notice(text=f"{new.label} is started anew."))
        self._crew.join(new)
        status = await self._until(new.name, (Phase.READY, Phase.STOPPED))
        if status.phase is Phase.STOPPED:
            self._ports.release(new.port)
            return f"{new.label} did not become ready: {status.reason}. The old process stays."
        if new.port is not None and (fault := await self._unknown_to_gateway(service)) is not None:
            await self._end(new.name)
            return f"{fault} The old process of {new.label} stays."
        await asyncio.sleep(_PROBATION)
        if (fault := _fall(self._statuses[new.name])) is not None:
            await self._end(new.name)
            return f"{new.label} was ready, and fell: {fault}. The old process stays."
        self._names[base] = new.name
        if new.port is not None:
            self._publisher.leaving(old)
            await self._unknown_to_gateway(service)  # one that takes nothing for so long sends nothing either
        await self._end(old)
        self._report(Notice(text=f"{new.label} was replaced."))
        return None

    async def _unknown_to_gateway(self, service: Service) -> str | None:
        """Whoever ends the old process before the gateway knows the new one leaves it without any."""
        try:
            await self._publisher.told(service.name)
        except ServerFailed as error:
            return str(error)
        return None

    async def _end(self, name: str) -> None:
        self._crew.leave(name)
        ended = await self._until(name, (Phase.STOPPED,))
        if isinstance(ended.resource, Process):
            self._ports.release(ended.resource.port)

    def _prepared(self, service: Service, base: str) -> Process:
        """The process as the plan has it, at another port and under another name."""
        self._number += 1
        port = free_port(free=self._ports.take)
        ports = {**self._facts.ports, f"{service.name}-web": port}
        plan = make_plan(self._publisher.workspace, msgspec.structs.replace(self._facts, ports=ports))
        process = plan.resource(base)
        assert isinstance(process, Process)
        if process.port != port:  # a worker listens nowhere
            self._ports.release(port)
        return renamed(process, f"{base}-{self._number}", self._facts.folder)

    async def _until(self, name: str, phases: tuple[Phase, ...]) -> Status:
        """Wait until the process is in one of ``phases``; the rules see to it that there is an end."""
        while name not in self._statuses or self._statuses[name].phase not in phases:
            self._news.clear()
            await self._news.wait()
        return self._statuses[name]


def _fall(status: Status) -> str | None:
    """Return why a process that was ready did not stay so, also where it was started anew meanwhile."""
    if status.phase is Phase.READY and not status.restarts:
        return None
    return status.reason or "it was started anew"


def renamed(process: Process, name: str, folder: StateFolder) -> Process:
    """Return ``process`` under another name, with a file of its own in which it says that it is ready."""
    process = msgspec.structs.replace(process, name=name, place=process.name)
    if process.ready_file is None:
        return process
    ready_file = folder.ready(name)
    environment = {**process.command.environment, wire.READY_FILE: str(ready_file)}
    command = msgspec.structs.replace(process.command, environment=environment)
    probe = msgspec.structs.replace(process.probe, path=ready_file)
    return msgspec.structs.replace(process, ready_file=ready_file, command=command, probe=probe)
