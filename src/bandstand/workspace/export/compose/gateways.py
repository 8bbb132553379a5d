"""The one door: Kong or Envoy, on the loopback interface of the machine unless told otherwise."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from bandstand.workspace.export import versions
from bandstand.workspace.export.compose.hardening import SERVICES, Json, container, healthcheck, limits
from bandstand.workspace.export.deployment import GATEWAY_PORT
from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.export.kong import kong_environment, render_kong
from bandstand.workspace.manifest import Workspace

__all__ = ["gateway", "gateway_files"]


def gateway(workspace: Workspace) -> Json:
    """Return the gateway's container."""
    return _kong(workspace)


def gateway_files(workspace: Workspace, kind: str) -> Iterator[File]:
    """Yield what the gateway is configured by, as part of what the exporter ``kind`` renders."""
    files = {str(file.path): file.content for file in render_kong(workspace)}
    content = files["kong.yml"].removeprefix(heading("kong"))
    yield File(path=PurePosixPath("gateway/kong.yml"), content=heading(kind) + content)


def _kong(workspace: Workspace) -> Json:
    settings = {**kong_environment(workspace), "KONG_PREFIX": "/tmp/kong"}  # noqa: S108 - of the container
    return container(
        versions.KONG,
        networks=(SERVICES,),
        user="kong",
        environment=settings,
        volumes=["./gateway/kong.yml:/etc/kong/kong.yml:ro"],
        **_door(workspace),
        healthcheck=healthcheck("kong", "health"),
        deploy=limits(1, 512),
    )


def _door(workspace: Workspace) -> Json:
    return {
        "ports": [f"${{GATEWAY_ADDRESS:-127.0.0.1}}:${{GATEWAY_PORT:-8000}}:{GATEWAY_PORT}"],
        "depends_on": {service.name: {"condition": "service_started"} for service in workspace.services},
        "stop_grace_period": "30s",
    }
