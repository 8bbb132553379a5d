"""The runs of a workspace: everything, as `bandstand up`, or the migrations alone."""

import asyncio
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.runtime import keys
from bandstand.workspace.runtime.facts import Facts, assign_ports, survey
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.plan import gateway_runtime, make_plan
from bandstand.workspace.runtime.ports import Reservations
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.reloading import Reloader
from bandstand.workspace.runtime.reports import Notice, Ready, Reporter
from bandstand.workspace.runtime.resources import Plan, Process
from bandstand.workspace.runtime.restarting import Restarter
from bandstand.workspace.runtime.servers.postgres import clear_remains, prepare_folder
from bandstand.workspace.runtime.services import migrate_name
from bandstand.workspace.runtime.session import Session
from bandstand.workspace.runtime.state import claim, end_leftovers, foreign_state, read_state, running
from bandstand.workspace.runtime.supervision import Status
from bandstand.workspace.runtime.writes import PendingWrites

__all__ = ["run_migrations", "run_platform"]

_WATCH_INTERVAL: Final = 0.5  # seconds between two looks at the manifest


def run_platform(workspace: Workspace, manifest: Path, report: Reporter, *, hang_up_stops: bool = False) -> None:
    """Start everything, keep it running, and return when it was stopped.

    ``hang_up_stops`` says that SIGHUP means a closed terminal; otherwise it asks for a reload, as SIGUSR1 always does.

    Raises:
        WorkspaceError: it is running already, could not start, or a program is missing. Nothing is left behind.
    """
    began = time.monotonic()
    folder = StateFolder(workspace.state_folder)
    folder.prepare()
    with claim(folder), Reservations() as ports:
        facts = _survey(workspace, folder, report, ports)
        plan = make_plan(workspace, facts)
        _install(plan, report)
        asyncio.run(
            _platform(workspace, manifest, facts, plan, report, ports=ports, began=began, hang_up_stops=hang_up_stops)
        )


def run_migrations(workspace: Workspace, services: Iterable[Service], report: Reporter) -> None:
    """Apply the migrations of ``services``: on the servers that run, or on a database server started for that.

    Raises:
        MigrationFailed: those of one failed.
    """
    names = [migrate_name(service) for service in services]
    folder = StateFolder(workspace.state_folder)
    folder.prepare()
    if running(folder) is not None:
        facts = survey(workspace, read_state(folder).ports)
        plan = make_plan(workspace, facts).part(*names)
        asyncio.run(_tasks(Session(plan, report, slots=facts.cores)))
        return
    with claim(folder), Reservations() as ports:
        facts = _survey(workspace, folder, report, ports)
        plan = make_plan(workspace, facts, migrate_always=True).needed_for(*names)
        _install(plan, report)
        session = Session(plan, report, slots=facts.cores)
        recorder = Recorder(folder, platform=workspace.name, ports=facts.ports, pid_of=session.pid_of)
        try:
            asyncio.run(_tasks(session, recorder))
        finally:
            recorder.end()


def _survey(workspace: Workspace, folder: StateFolder, report: Reporter, ports: Reservations) -> Facts:
    """Clean up after an earlier run that could not do so itself, then look at the machine."""
    if foreign := foreign_state(folder):
        report(Notice(text=foreign))
    earlier = read_state(folder)
    if left := end_leftovers(folder):
        report(Notice(text=f"An earlier run had left {', '.join(left)} behind; ended now."))
    if orphans := clear_remains(folder.postgres / "data"):
        ids = ", ".join(map(str, orphans))
        report(Notice(text=f"A killed PostgreSQL had left processes behind ({ids}); ended now."))
    facts = survey(workspace, assign_ports(workspace, earlier.ports, free=ports.take))
    issuer, rotation = workspace.token_issuer, facts.credentials.rotation
    step = rotation.step if rotation else None
    keys.make_keys(folder.keys, workspace.service_names, [issuer.name] if issuer else [], step=step)
    prepare_folder(folder.postgres, facts.account)
    return facts


def _install(plan: Plan, report: Reporter) -> None:
    for file in plan.files:
        replace_file(file.path, file.content)
    for notice in plan.notices:
        report(Notice(text=notice))


async def _platform(
    workspace: Workspace,
    manifest: Path,
    facts: Facts,
    plan: Plan,
    report: Reporter,
    *,
    ports: Reservations,
    began: float,
    hang_up_stops: bool,
) -> None:
    session = Session(plan, report, slots=facts.cores)
    writes = PendingWrites(lambda text: report(Notice(text=text)))
    recorder = Recorder(facts.folder, platform=workspace.name, ports=facts.ports, pid_of=session.pid_of, writes=writes)
    publisher = Publisher(workspace, gateway_runtime(facts), facts.folder, writes=writes)
    reloader = Reloader(manifest, publisher, recorder, facts, report)
    restarter = Restarter(session, publisher, recorder, facts, report, ports=ports)
    announcement = _Announcement(_ready(workspace, plan, facts), report, began)
    publisher.begin()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, reloader.request)
    loop.add_signal_handler(signal.SIGUSR2, restarter.request)
    work = (reloader.watch(_WATCH_INTERVAL), restarter.watch(), writes.keep_trying())
    watching = [loop.create_task(each) for each in work]
    observers = (publisher, recorder, restarter, announcement)
    try:
        await session.run(*observers, hang_up=None if hang_up_stops else reloader.request)
    finally:
        for task in watching:
            task.cancel()
        recorder.end()


async def _tasks(session: Session, *recorders: Recorder) -> None:
    await session.run(*recorders, _StopWhenReady(session))


def _ready(workspace: Workspace, plan: Plan, facts: Facts) -> Ready:
    urls = {
        resource.name: resource.url
        for resource in plan.resources
        if isinstance(resource, Process) and resource.url is not None
    }
    webs = {name: urls[f"{name}-web"] for name in workspace.service_names}
    return Ready(
        platform=workspace.name,
        gateway=urls.get("gateway", ""),
        services=webs,
        documents={name: f"{url}/api/docs/" for name, url in webs.items()},
        mail=str(facts.folder.mail),
        seconds=0.0,
    )


class _Announcement:
    """Says once that the platform is ready, and how long that took."""

    def __init__(self, ready: Ready, report: Reporter, began: float) -> None:
        self._message = ready
        self._report = report
        self._began = began

    def changed(self, status: Status) -> None:
        """Only the whole counts."""

    def ready(self) -> None:
        seconds = round(time.monotonic() - self._began, 3)
        self._report(msgspec.structs.replace(self._message, seconds=seconds))


class _StopWhenReady:
    """Ends a session whose tasks are all done."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def changed(self, status: Status) -> None:
        """Only the whole counts."""

    def ready(self) -> None:
        self._session.stop()
