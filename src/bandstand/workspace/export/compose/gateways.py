"""The one door: Kong or Envoy, on the loopback interface of the machine unless told otherwise."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from bandstand.workspace.export.compose.addresses import gateway_address
from bandstand.workspace.export.compose.hardening import SERVICES, Json, container, healthcheck, limits
from bandstand.workspace.export.deployment import ENVOY_STATUS_PORT, GATEWAY_PORT
from bandstand.workspace.export.envoy import render_deployed_envoy
from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.export.kong import kong_environment, render_kong
from bandstand.workspace.manifest import Workspace

__all__ = ["gateway", "gateway_files"]

_ENVOY_FLAGS: Final = ("--concurrency", "2", "--log-level", "warning", "--drain-strategy", "immediate")
# Its image has no program that speaks HTTP.
_ENVOY_READY: Final = (
    f"exec 3<>/dev/tcp/127.0.0.1/{ENVOY_STATUS_PORT}"
    " && printf 'GET /ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3"
    " && grep -q LIVE <&3"
)


def gateway(workspace: Workspace) -> Json:
    """Return the gateway's container."""
    return _kong(workspace) if workspace.production.gateway == "kong" else _envoy(workspace)


def gateway_files(workspace: Workspace, kind: str) -> Iterator[File]:
    """Yield what the gateway is configured by, as part of what the exporter ``kind`` renders."""
    chosen = workspace.production.gateway
    files = render_kong(workspace) if chosen == "kong" else render_deployed_envoy(workspace)
    for file in files:
        if file.path.suffix in {".yml", ".yaml"}:
            content = heading(kind) + file.content.removeprefix(heading(chosen))
            yield File(path=PurePosixPath("gateway") / file.path, content=content)


def _kong(workspace: Workspace) -> Json:
    settings = {**kong_environment(workspace), "KONG_PREFIX": "/tmp/kong"}  # noqa: S108 - of the container
    return container(
        workspace.production.images.kong,
        networks=_network(workspace),
        user="kong",
        environment=settings,
        volumes=["./gateway/kong.yml:/etc/kong/kong.yml:ro"],
        **_door(workspace),
        healthcheck=healthcheck("kong", "health"),
        deploy=limits(1, 512),
    )


def _envoy(workspace: Workspace) -> Json:
    tls = workspace.production.envoy.tls
    certificates = [f"${{TLS_FOLDER:?the folder of tls.crt and tls.key}}:{tls}:ro"] if tls else []
    return container(
        workspace.production.images.envoy,
        networks=_network(workspace),
        user="101:101",
        command=["envoy", "-c", "/etc/envoy/envoy.yaml", *_ENVOY_FLAGS],
        entrypoint=[],
        volumes=["./gateway:/etc/envoy:ro", *certificates],
        **_door(workspace),
        healthcheck=healthcheck("bash", "-c", _ENVOY_READY),
        deploy=limits(1, 768),
    )


def _network(workspace: Workspace) -> Json:
    return {SERVICES: {"ipv4_address": gateway_address(workspace)}}


def _door(workspace: Workspace) -> Json:
    return {
        "ports": [f"${{GATEWAY_ADDRESS:-127.0.0.1}}:${{GATEWAY_PORT:-8000}}:{GATEWAY_PORT}"],
        "depends_on": {service.name: {"condition": "service_started"} for service in workspace.services},
        "stop_grace_period": "30s",
    }
