"""Tells services and gateway where the instances are: the registry file, and Envoy's files of endpoints."""

from collections.abc import Iterator

import msgspec

from bandstand.workspace.export import File, install
from bandstand.workspace.export.envoy import Endpoint, GatewayRuntime, Health, render_endpoints
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime.folder import StateFolder, replace_file
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.resources import Process, Stage
from bandstand.workspace.runtime.servers.envoy_statistics import until_gateway_read
from bandstand.workspace.runtime.supervision import Status
from bandstand.workspace.runtime.writes import PendingWrites

__all__ = ["Publisher", "health_of"]


def health_of(phase: Phase) -> Health:
    """What the gateway is told of an instance in ``phase``: new requests go to healthy ones alone."""
    if phase is Phase.READY:
        return Health.HEALTHY
    return Health.DRAINING if phase is Phase.STOPPING else Health.UNHEALTHY


class Publisher:
    """Follows the web processes and writes both files when one of them becomes ready or ceases to be.

    ``workspace`` and ``runtime`` are what the gateway runs on now; a reload replaces them. ``writes`` repeats what the
    disk does not take: a gateway that is not told keeps sending requests to a process that has gone.
    """

    def __init__(
        self,
        workspace: Workspace,
        runtime: GatewayRuntime,
        folder: StateFolder,
        *,
        writes: PendingWrites | None = None,
    ) -> None:
        self.workspace = workspace
        self.runtime = runtime
        self._folder = folder
        self._writes = writes or PendingWrites()
        self._webs: dict[str, tuple[Process, Phase]] = {}

    def begin(self) -> None:
        """Say that nobody is there yet: what an earlier run wrote is not true any more."""
        self._write_registry()

    def changed(self, status: Status) -> None:
        web = status.resource
        if not isinstance(web, Process) or web.stage is not Stage.WEB or web.service is None:
            return
        before = self._webs.get(web.name)
        self._webs[web.name] = (web, status.phase)
        if status.gone and status.phase is Phase.STOPPED:
            del self._webs[web.name]
            self._publish(web.service)
        elif before is None or health_of(before[1]) != health_of(status.phase):
            self._publish(web.service)

    def leaving(self, name: str) -> None:
        """Take an instance out although its process still works; it is told to end afterwards."""
        if name in self._webs:
            self.changed(Status(resource=self._webs[name][0], phase=Phase.STOPPING))

    async def told(self, service: str) -> None:
        """Wait until the gateway has read where the instances of ``service`` are now.

        Raises:
            ServerFailed: it takes too long.
        """
        files = [self._folder.envoy / file.path for file in self._rendered(service)]
        await until_gateway_read(self.runtime.admin_port, files)

    def ready(self) -> None:
        """Nothing to add: each instance was published when it became ready."""

    def _publish(self, service: str) -> None:
        self.runtime = msgspec.structs.replace(self.runtime, endpoints=self._endpoints())
        self._writes.attempt(self._folder.registry.name, self._write_registry)
        self._writes.attempt(f"endpoints of {service}", lambda: install(self._rendered(service), self._folder.envoy))

    def _rendered(self, service: str) -> Iterator[File]:
        return render_endpoints(self.workspace, self.runtime, [service])

    def _endpoints(self) -> dict[str, tuple[Endpoint, ...]]:
        endpoints: dict[str, tuple[Endpoint, ...]] = {}
        for web, phase in self._webs.values():
            if web.service is not None and web.port is not None:
                endpoint = Endpoint(port=web.port, health=health_of(phase))
                endpoints[web.service] = (*endpoints.get(web.service, ()), endpoint)
        return endpoints

    def _write_registry(self) -> None:
        services: dict[str, list[dict[str, str]]] = {name: [] for name in self.workspace.service_names}
        for web, phase in self._webs.values():
            if phase is Phase.READY and web.service is not None and web.url is not None:
                services[web.service].append({"id": f"{web.name}-1", "url": web.url})
        replace_file(self._folder.registry, msgspec.json.encode({"version": 1, "services": services}))
