"""Reads a changed manifest while the platform runs, and gives the gateway its new routes."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from bandstand.exceptions import ManifestError, ServerFailed
from bandstand.workspace.export import install
from bandstand.workspace.export.envoy import render_static
from bandstand.workspace.manifest import Service, Workspace, load
from bandstand.workspace.runtime.facts import Facts
from bandstand.workspace.runtime.failures import reason_of
from bandstand.workspace.runtime.plan import place_of
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.reports import Notice, Reporter
from bandstand.workspace.runtime.servers.envoy import CHECK, check_command, gateway_files, install_gateway
from bandstand.workspace.runtime.servers.envoy_statistics import count_refusals, until_gateway_read

__all__ = ["Reloader", "needs_restart", "with_routes"]

_PATIENCE: Final = 30.0  # seconds that the gateway has to take what is new


class Reloader:
    """Reloads when it is asked to, or when the file changes. A manifest with a fault changes nothing."""

    def __init__(
        self, manifest: Path, publisher: Publisher, recorder: Recorder, facts: Facts, report: Reporter
    ) -> None:
        self._manifest = manifest
        self._publisher = publisher
        self._recorder = recorder
        self._facts = facts
        self._report = report
        self._asked = asyncio.Event()
        self._seen = _stamp(manifest)

    def request(self) -> None:
        """Reload soon."""
        self._asked.set()

    async def watch(self, interval: float) -> None:
        """Look at the file every ``interval`` seconds, and reload for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._asked.wait()
            stamp = _stamp(self._manifest)
            if self._asked.is_set() or (stamp is not None and stamp != self._seen):
                self._asked.clear()
                self._seen = stamp
                await self._reload()

    async def _reload(self) -> None:
        self._recorder.reloads()
        try:
            changed, notices = await self._apply(load(self._manifest))
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the next change is to be seen
            fault = "\n".join(error.faults) if isinstance(error, ManifestError) else reason_of(error)
            self._recorder.reloaded(fault, refused=True)
            self._report(Notice(text=f"The changed manifest was refused, and the old one stays:\n{fault}"))
            return
        text = "The gateway has new routes." if changed else "The manifest was read; the gateway stays as it is."
        for line in (text, *notices):
            self._report(Notice(text=line))
        self._recorder.reloaded("\n".join(notices), changed=changed)

    async def _apply(self, written: Workspace) -> tuple[bool, tuple[str, ...]]:
        """Give the gateway what it can take while it runs; return whether that was anything, and what it was not."""
        current = self._publisher.workspace
        wanted = with_routes(current, written)
        if self._facts.binaries.envoy is not None and wanted != current:
            await self._check(wanted, self._facts.binaries.envoy)
        refusals = await count_refusals(self._publisher.runtime.admin_port)
        changed = self._install(wanted)
        try:
            await self._until_read(refusals)
        except ServerFailed:
            self._install(current)
            raise
        return changed, needs_restart(wanted, written)

    def _install(self, workspace: Workspace) -> bool:
        """Publish the routes of ``workspace`` to the gateway; return whether that changes anything."""
        self._publisher.workspace = workspace
        return bool(install_gateway(workspace, self._publisher.runtime, self._facts.folder.envoy))

    async def _until_read(self, refusals: int) -> None:
        """All files, also where this manifest changes none of them: an earlier change may not have been read yet."""
        runtime = self._publisher.runtime
        files = gateway_files(self._publisher.workspace, runtime)
        await until_gateway_read(runtime.admin_port, files, patience=_PATIENCE, refusals=refusals)

    async def _check(self, workspace: Workspace, binary: Path) -> None:
        """Let Envoy itself say whether it would take the configuration."""
        place = place_of(self._facts, "gateway", self._facts.folder.envoy)
        install(render_static(workspace, self._publisher.runtime), place.folder / "check")
        (place.folder / "check" / "bootstrap.json").replace(place.folder / CHECK)
        command = check_command(place, binary)
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            cwd=command.folder,
            env=dict(command.environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:  # the platform ends meanwhile
                process.kill()
        if process.returncode != 0:
            raise ServerFailed("Envoy would refuse the new configuration:\n" + output.decode(errors="replace").strip())


def with_routes(current: Workspace, written: Workspace) -> Workspace:
    """Return ``current`` with everything of ``written`` that the gateway can take while it runs."""
    routes = {service.name: service.routes for service in written.services}
    services = tuple(
        msgspec.structs.replace(service, routes=routes.get(service.name, service.routes))
        for service in current.services
    )
    gateway = msgspec.structs.replace(written.gateway, host=current.gateway.host, port=current.gateway.port)
    return msgspec.structs.replace(current, gateway=gateway, services=services)


def needs_restart(running: Workspace, written: Workspace) -> tuple[str, ...]:
    """Say what stands in the manifest and comes true only at the next start."""
    pairs = {
        "[platform]": (running.name, written.name),
        "gateway.host": (running.gateway.host, written.gateway.host),
        "gateway.port": (running.gateway.port, written.gateway.port),
        "[servers]": (running.servers, written.servers),
        "[policy]": (running.policy, written.policy),
        **_service_pairs(running, written),
    }
    return tuple(
        f"{name} changed; that takes `bandstand down` and `bandstand up`."
        for name, (before, after) in pairs.items()
        if before != after
    )


def _service_pairs(running: Workspace, written: Workspace) -> dict[str, tuple[Service | None, Service | None]]:
    before, after = _without_routes(running), _without_routes(written)
    return {f"[services.{name}]": (before.get(name), after.get(name)) for name in {**before, **after}}


def _without_routes(workspace: Workspace) -> dict[str, Service]:
    return {service.name: msgspec.structs.replace(service, routes=()) for service in workspace.services}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
