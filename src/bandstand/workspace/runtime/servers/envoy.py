"""Envoy: the one door of the platform, told by files where the services are and how they do."""

import asyncio
import signal
from pathlib import Path
from typing import ClassVar, Final

from bandstand.workspace.export import install
from bandstand.workspace.export.envoy import GatewayRuntime, render_envoy, render_static
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import AnswerProbe, request
from bandstand.workspace.runtime.resources import (
    Action,
    Command,
    File,
    NeverReady,
    NotReady,
    Probe,
    Process,
    Resource,
    Stage,
    Step,
    Task,
)
from bandstand.workspace.runtime.servers.base import PROBE_INTERVAL, PROBE_TIMEOUT, SILENCE, Place
from bandstand.workspace.runtime.servers.envoy_statistics import statistic, until_gateway_read

__all__ = [
    "DrainGateway",
    "GatewayProbe",
    "TellGateway",
    "check_command",
    "gateway_files",
    "install_gateway",
    "plan_envoy",
    "plan_gateway_told",
]

CHECK: Final = "check.json"
_DRAIN_SECONDS: Final = 5
_DRAIN_POLL: Final = 0.02


class GatewayProbe(Probe, frozen=True, kw_only=True):
    """Ready when Envoy has read its files and listens where clients come in: it itself, since a stranger may, too."""

    host: str
    port: int
    admin_port: int

    async def check(self) -> None:
        status, body = await request("GET", LOOPBACK, self.admin_port, "/ready")
        if status != 200:
            raise NotReady(body.decode(errors="replace").strip())
        if await statistic(self.admin_port, "listener_manager.total_listeners_active") == 0:
            await self._tell_why()
        _, writer = await asyncio.open_connection(self.host, self.port)
        writer.transport.abort()

    async def _tell_why(self) -> None:
        """Envoy tries to listen once, and lives on without: then it waits for nothing any more."""
        if await statistic(self.admin_port, "listener_manager.listener_create_failure"):
            raise NeverReady(f"it could not listen on {self.host}:{self.port}; another program may have that port")
        raise NotReady(f"it does not listen on {self.host}:{self.port} yet")


class DrainGateway(Action, frozen=True, kw_only=True):
    """Let requests in flight finish: Envoy's SIGTERM would cut them. ``patience`` is in seconds."""

    admin_port: int
    patience: float = _DRAIN_SECONDS

    async def perform(self) -> tuple[str, ...]:
        await request("POST", LOOPBACK, self.admin_port, "/drain_listeners?graceful")
        for _ in range(int(self.patience / _DRAIN_POLL)):
            if not await self._in_flight():
                break
            await asyncio.sleep(_DRAIN_POLL)
        return ()

    async def _in_flight(self) -> bool:
        return await statistic(self.admin_port, "http.public.downstream_rq_active") != 0


class TellGateway(Action, frozen=True, kw_only=True):
    """Wait until Envoy has read where the services are: it takes a changed file a moment after it was written.

    ``patience`` is in seconds.
    """

    waits: ClassVar[bool] = True
    admin_port: int
    files: tuple[Path, ...]
    patience: float = 60.0

    async def perform(self) -> tuple[str, ...]:
        await until_gateway_read(self.admin_port, self.files, patience=self.patience)
        return ()


def plan_envoy(
    place: Place, *, workspace: Workspace, runtime: GatewayRuntime, binary: Path
) -> tuple[list[Resource], list[File]]:
    """Plan the gateway. It is ready without the services, and answers 503 for them."""
    check = Task(
        name="gateway-check",
        label="Gateway: check the configuration",
        stage=Stage.TASK,
        command=check_command(place, binary),
        log=place.log,
    )
    server = Process(
        name="gateway",
        label="Gateway (Envoy)",
        stage=Stage.GATEWAY,
        command=place.command(
            binary,
            *("-c", "bootstrap.json", "--concurrency", "2", "-l", "warning"),
            *("--drain-time-s", str(_DRAIN_SECONDS), "--drain-strategy", "immediate"),
            *("--file-flush-interval-msec", "100", "--disable-hot-restart"),
        ),
        log=place.log,
        probe=GatewayProbe(
            host=workspace.gateway.host,
            port=runtime.port,
            admin_port=runtime.admin_port,
            again=PROBE_INTERVAL,
            timeout=PROBE_TIMEOUT,
        ),
        liveness=AnswerProbe(port=runtime.admin_port, path="/ready", timeout=PROBE_TIMEOUT),
        silence=SILENCE,
        port=runtime.port,
        url=f"http://{_shown(workspace.gateway.host)}:{runtime.port}",
        stop_signal=signal.SIGTERM,
        drain=DrainGateway(admin_port=runtime.admin_port),
        after=(check.name,),
    )
    files = [File(path=place.folder / file.path, content=file.content) for file in render_envoy(workspace, runtime)]
    files += [File(path=place.folder / CHECK, content=file.content) for file in render_static(workspace, runtime)]
    return [check, server], files


def plan_gateway_told(workspace: Workspace, runtime: GatewayRuntime) -> Step:
    """Plan to wait for the gateway, once every service is ready and before the platform is."""
    return Step(
        name="gateway-told",
        label="Gateway: knows every service",
        stage=Stage.GATEWAY,
        after=("gateway", *(f"{name}-web" for name in workspace.service_names)),
        action=TellGateway(admin_port=runtime.admin_port, files=gateway_files(workspace, runtime)),
    )


def gateway_files(workspace: Workspace, runtime: GatewayRuntime) -> tuple[Path, ...]:
    """Return where the gateway finds what it runs on."""
    return tuple(Path(runtime.xds_dir / file.path) for file in render_envoy(workspace, runtime))


def check_command(place: Place, binary: Path) -> Command:
    """The command that ends well when Envoy understands the configuration."""
    return place.command(binary, "--mode", "validate", "-c", CHECK, "-l", "warning")


def install_gateway(workspace: Workspace, runtime: GatewayRuntime, folder: Path) -> list[Path]:
    """Write what a running gateway watches, and return what changed."""
    return install(render_envoy(workspace, runtime), folder)


def _shown(host: str) -> str:
    """An address that a browser can open, where the gateway listens on all of them."""
    return LOOPBACK if host in {"0.0.0.0", "::"} else host  # noqa: S104 - nothing is bound here
