"""Envoy: the one door of the platform, told by files where the services are and how they do."""

import asyncio
import signal
from pathlib import Path
from typing import Final

from bandstand.workspace.export import install
from bandstand.workspace.export.envoy import GatewayRuntime, render_envoy, render_static
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.probes import request
from bandstand.workspace.runtime.resources import (
    Action,
    Command,
    File,
    NotReady,
    Probe,
    Process,
    Resource,
    Stage,
    Task,
)
from bandstand.workspace.runtime.servers.base import Place

__all__ = ["DrainGateway", "GatewayProbe", "check_command", "install_gateway", "plan_envoy"]

CHECK: Final = "check.json"
_DRAIN_SECONDS: Final = 5
_DRAIN_POLL: Final = 0.02


class GatewayProbe(Probe, frozen=True, kw_only=True):
    """Ready when Envoy has read its files and listens where clients come in."""

    host: str
    port: int
    admin_port: int

    async def check(self) -> None:
        status, body = await request("GET", LOOPBACK, self.admin_port, "/ready")
        if status != 200:
            raise NotReady(body.decode(errors="replace").strip())
        _, writer = await asyncio.open_connection(self.host, self.port)
        writer.transport.abort()


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
        _, body = await request("GET", LOOPBACK, self.admin_port, "/stats?filter=^http.public.downstream_rq_active$")
        return not body.strip().endswith(b": 0")


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
        probe=GatewayProbe(host=workspace.gateway.host, port=runtime.port, admin_port=runtime.admin_port),
        port=runtime.port,
        url=f"http://{_shown(workspace.gateway.host)}:{runtime.port}",
        stop_signal=signal.SIGTERM,
        drain=DrainGateway(admin_port=runtime.admin_port),
        after=(check.name,),
    )
    files = [File(path=place.folder / file.path, content=file.content) for file in render_envoy(workspace, runtime)]
    files += [File(path=place.folder / CHECK, content=file.content) for file in render_static(workspace, runtime)]
    return [check, server], files


def check_command(place: Place, binary: Path) -> Command:
    """The command that ends well when Envoy understands the configuration."""
    return place.command(binary, "--mode", "validate", "-c", CHECK, "-l", "warning")


def install_gateway(workspace: Workspace, runtime: GatewayRuntime, folder: Path) -> list[Path]:
    """Write what a running gateway watches, and return what changed."""
    return install(render_envoy(workspace, runtime), folder)


def _shown(host: str) -> str:
    """An address that a browser can open, where the gateway listens on all of them."""
    return LOOPBACK if host in {"0.0.0.0", "::"} else host  # noqa: S104 - nothing is bound here
