"""The plan of one service: migrate, seed, web, worker."""

from collections.abc import Iterator, Mapping
from math import ceil

import msgspec

from bandstand.conf import wire
from bandstand.workspace.manifest import Service
from bandstand.workspace.manifest.connections import worker_pool
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import AnswerProbe, FileProbe, HttpProbe
from bandstand.workspace.runtime.remedies import Remedy
from bandstand.workspace.runtime.resources import Action, Command, Process, Resource, Stage, Task

__all__ = ["ServicePlan", "log_names", "migrate_name", "seed_names"]

# Seconds that requests in flight have at least, and at most, at a stop; then granian ends its worker process.
_WEB_GRACE = (5, 25)
# What handlers in flight have; settings.events.shutdown_timeout is 25 s.
_WORKER_GRACE = 27.0


def migrate_name(service: Service) -> str:
    """The name of the task that migrates ``service``."""
    return f"{service.name}-migrate"


def seed_names(service: Service) -> tuple[str, ...]:
    """The names of the tasks that fill the new database of ``service``."""
    return tuple(f"{service.name}-{command.replace('_', '-')}" for command in service.seed)


def log_names(service: Service) -> tuple[str, ...]:
    """The names of everything of ``service`` that writes a log."""
    return (migrate_name(service), *seed_names(service), *(process.name for process in service.processes))


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the resources of a service are made from.

    ``migrated`` and ``seeded`` note on its database what was done. ``databases`` names the step that makes the
    database, ``servers`` the processes that the service uses. ``request_timeout`` is in seconds: after it nobody waits
    for an answer any more.
    """

    service: Service
    folder: StateFolder
    python: str
    environment: Mapping[str, str]
    port: int
    databases: str
    servers: tuple[str, ...]
    request_timeout: float
    migrated: Action
    seeded: Action
    remedies: tuple[Remedy, ...] = ()

    def resources(self) -> Iterator[Resource]:
        """Yield the tasks, then the processes, each after what it depends on."""
        yield self._task(migrate_name(self.service), "migrate", "--no-input", after=self.databases, then=self.migrated)
        yield from self._seeds()
        yield self._web()
        if self.service.worker:
            yield self._worker()

    def _seeds(self) -> Iterator[Task]:
        """One after the other, since a later one may build on what an earlier one made."""
        names = seed_names(self.service)
        before = (migrate_name(self.service), *names)
        for index, command in enumerate(self.service.seed):
            then = self.seeded if index == len(names) - 1 else None
            yield self._task(names[index], command, after=before[index], then=then)

    def _task(self, name: str, *arguments: str, after: str, then: Action | None) -> Task:
        return Task(
            name=name,
            label=f"{self.service.name}: {arguments[0]}",
            stage=Stage.TASK,
            service=self.service.name,
            after=(after,),
            command=self._command("command", "manage.py", *arguments),
            log=self.folder.log(name),
            then=then,
            remedies=self.remedies,
        )

    def _web(self) -> Process:
        """It starts at once, before its database is there: it is ready when /health/ready/ says so."""
        name = f"{self.service.name}-web"
        least, most = _WEB_GRACE
        grace = min(max(least, ceil(self.request_timeout)), most)
        server = (
            *("-m", "granian", self.service.wsgi, "--interface", "wsgi", "--http", "1", "--no-ws"),
            *("--host", LOOPBACK, "--port", str(self.port), "--workers", "1"),
            *("--blocking-threads", str(self.service.threads), "--workers-kill-timeout", str(grace)),
            # Its warnings are about a number of threads that the manifest chose.
            *("--log-level", "error"),
        )
        return Process(
            name=name,
            label=f"{self.service.name} web",
            stage=Stage.WEB,
            service=self.service.name,
            needs=(*self.servers, migrate_name(self.service), *seed_names(self.service)),
            command=self._command("web", *server),
            log=self.folder.log(name),
            probe=HttpProbe(port=self.port, path="/health/ready/", again=1.0),
            liveness=AnswerProbe(port=self.port, path="/health/live/"),
            port=self.port,
            url=f"http://{LOOPBACK}:{self.port}",
            grace=grace + 3.0,
        )

    def _worker(self) -> Process:
        """It starts after the migrations, since its tables must be there."""
        name = f"{self.service.name}-worker"
        ready_file = self.folder.ready(name)
        more = {wire.READY_FILE: str(ready_file), wire.DATABASE_POOL_SIZE: str(worker_pool(self.service))}
        return Process(
            name=name,
            label=f"{self.service.name} worker",
            stage=Stage.WORKER,
            service=self.service.name,
            after=(migrate_name(self.service),),
            needs=self.servers,
            command=self._command("worker", "manage.py", "worker", more=more),
            log=self.folder.log(name),
            probe=FileProbe(path=ready_file, again=0.5),
            ready_file=ready_file,
            grace=_WORKER_GRACE,
        )

    def _command(self, process: str, *arguments: str, more: Mapping[str, str] | None = None) -> Command:
        environment = {**self.environment, wire.PROCESS: process, **(more or {})}
        return Command(arguments=(self.python, *arguments), folder=self.service.folder, environment=environment)
