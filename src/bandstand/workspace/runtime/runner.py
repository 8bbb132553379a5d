"""One run of a workspace, from the lock to the last process: what `bandstand up` does in the foreground."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime import keys
from bandstand.workspace.runtime.facts import Facts, survey
from bandstand.workspace.runtime.failures import explain
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.launcher import SystemLauncher, Watchdog, adopt_orphans
from bandstand.workspace.runtime.logs import Logs
from bandstand.workspace.runtime.plan import gateway_runtime, make_plan
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.reloading import Reloader
from bandstand.workspace.runtime.reports import Notice, Output, Ready, Reporter, StepDone, Stopping
from bandstand.workspace.runtime.resources import Plan, Process, Stage
from bandstand.workspace.runtime.servers.postgres import forget_unfinished
from bandstand.workspace.runtime.state import claim, end_leftovers, read_state
from bandstand.workspace.runtime.supervision import Status, Supervision
from bandstand.workspace.runtime.supervisor import Supervisor

__all__ = ["run_migrations", "run_platform"]

_WATCH_INTERVAL: Final = 0.5  # seconds between two looks at the manifest


def run_platform(workspace: Workspace, manifest: Path, report: Reporter, *, hang_up_stops: bool = False) -> None:
    """Start everything, keep it running, and return when it was stopped.

    ``hang_up_stops`` says that SIGHUP means a closed terminal; otherwise it asks for a reload, as SIGUSR1 always does.

    Raises:
        WorkspaceError: it is running already, could not start, or a program is missing. Nothing is left behind.
    """
    _Run(workspace, manifest, report).platform(hang_up_stops=hang_up_stops)


def run_migrations(workspace: Workspace, manifest: Path, names: tuple[str, ...], report: Reporter) -> None:
    """Start only what the tasks ``names`` need, perform them, and stop again.

    Raises:
        MigrationFailed: one failed.
    """
    _Run(workspace, manifest, report).tasks(names)


class _Run:
    def __init__(self, workspace: Workspace, manifest: Path, report: Reporter) -> None:
        self.workspace = workspace
        self.manifest = manifest
        self.report = report
        self.folder = StateFolder(workspace.state_folder)
        self.began = time.monotonic()

    def platform(self, *, hang_up_stops: bool) -> None:
        self.folder.prepare()
        with claim(self.folder):
            facts = self._survey()
            plan = make_plan(self.workspace, facts)
            self._install(plan)
            asyncio.run(self._supervise(plan, facts, hang_up_stops=hang_up_stops))

    def tasks(self, names: tuple[str, ...]) -> None:
        self.folder.prepare()
        with claim(self.folder):
            facts = self._survey()
            plan = make_plan(self.workspace, facts, migrate_always=True).only(*names)
            self._install(plan)
            asyncio.run(self._supervise(plan, facts, hang_up_stops=True, until_ready=True))

    def _survey(self) -> Facts:
        earlier = read_state(self.folder)
        left = end_leftovers(earlier)
        if left:
            self.report(Notice(text=f"An earlier run had left {', '.join(left)} behind; ended now."))
        forget_unfinished(self.folder.postgres)
        issuer = self.workspace.token_issuer
        keys.make_keys(self.folder.keys, self.workspace.service_names, [issuer.name] if issuer else [])
        return survey(self.workspace, earlier.ports)

    def _install(self, plan: Plan) -> None:
        for file in plan.files:
            replace_file(file.path, file.content)
        for notice in plan.notices:
            self.report(Notice(text=notice))

    async def _supervise(self, plan: Plan, facts: Facts, *, hang_up_stops: bool, until_ready: bool = False) -> None:
        adopt_orphans()
        watchdog, logs = Watchdog(), Logs()
        logs.listener = lambda name, line: self.report(Output(name=name, line=line))
        watchdog.start()
        supervision = Supervision(plan, slots=facts.cores)
        launcher = SystemLauncher(watchdog)
        supervisor = Supervisor(plan, supervision, launcher=launcher, logs=logs)
        recorder = Recorder(self.folder, platform=self.workspace.name, ports=facts.ports, pid_of=supervisor.pid_of)
        publisher = Publisher(self.workspace, gateway_runtime(facts), self.folder)
        progress = _Progress(self.report, self.began, lambda: self._ready(plan, until_ready, supervisor))
        supervisor.observers = (publisher, recorder, progress)
        reloader = Reloader(self.manifest, publisher, recorder, facts, self.report)
        publisher.begin()
        self._listen(supervisor, reloader, hang_up_stops=hang_up_stops)
        watching = asyncio.create_task(reloader.watch(_WATCH_INTERVAL))
        try:
            await supervisor.run()
        finally:
            watching.cancel()
            watchdog.close()
            recorder.end()
            logs.close()
        if supervision.failure is not None:
            failed = supervision.failure
            raise explain(failed, plan.resource(failed.name), logs.tail(failed.name))

    def _listen(self, supervisor: Supervisor, reloader: Reloader, *, hang_up_stops: bool) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if supervisor.hurrying:
                os._exit(130)  # a third time: the watchdog ends the rest
            text = "Ending everything at once." if supervisor.stopping else "Stopping; once more to hurry."
            self.report(Stopping(text=text))
            supervisor.stop()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGUSR1, reloader.request)
        loop.add_signal_handler(signal.SIGHUP, stop if hang_up_stops else reloader.request)

    def _ready(self, plan: Plan, until_ready: bool, supervisor: Supervisor) -> None:
        if until_ready:
            supervisor.stop()
            return
        webs = {
            resource.service: resource.url
            for resource in plan.resources
            if isinstance(resource, Process) and resource.stage is Stage.WEB and resource.service and resource.url
        }
        gateway = plan.resource("gateway")
        self.report(
            Ready(
                platform=self.workspace.name,
                gateway=gateway.url or "" if isinstance(gateway, Process) else "",
                services=webs,
                documents={name: f"{url}/api/docs/" for name, url in webs.items()},
                mail=self.folder.mail,
                seconds=round(time.monotonic() - self.began, 3),
            )
        )


class _Progress:
    """Reports each step while the platform starts."""

    def __init__(self, report: Reporter, began: float, when_ready: Callable[[], None]) -> None:
        self._report = report
        self._began = began
        self._when_ready = when_ready
        self._done: set[str] = set()
        self._over = False

    def changed(self, status: Status) -> None:
        name = status.resource.name
        if self._over or not status.fulfilled or name in self._done:
            return
        self._done.add(name)
        self._report(
            StepDone(
                label=status.resource.label,
                seconds=0.0 if status.skipped else status.since - status.launched,
                at=status.since - self._began,
                skipped=status.skipped,
            )
        )

    def ready(self) -> None:
        self._over = True
        self._when_ready()
