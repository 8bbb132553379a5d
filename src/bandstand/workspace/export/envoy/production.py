"""Envoy as the gateway of a deployed platform: where nobody but DNS and the instances says who is there."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from bandstand.workspace.export.deployment import ENVOY_ADMIN_PORT, ENVOY_STATUS_PORT, GATEWAY_PORT, WEB_PORT
from bandstand.workspace.export.envoy.bootstrap import dynamic_bootstrap, static_bootstrap
from bandstand.workspace.export.envoy.clusters import dns_clusters
from bandstand.workspace.export.envoy.listener import listener, routes_from
from bandstand.workspace.export.envoy.routes import route_configuration
from bandstand.workspace.export.envoy.status import status_cluster, status_listener
from bandstand.workspace.export.envoy.values import Endpoint, GatewayRuntime, Json
from bandstand.workspace.export.envoy.watching import discovered, watched_file
from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading
from bandstand.workspace.export.yaml import yaml_text
from bandstand.workspace.manifest import Workspace

__all__ = ["deployed_runtime", "render_deployed_envoy"]

_KIND: Final = "envoy"
_FOLDER: Final = PurePosixPath("/etc/envoy")


def deployed_runtime(workspace: Workspace) -> GatewayRuntime:
    """Return where the gateway runs: in a container of its own, its files in ``/etc/envoy``."""
    tls = workspace.production.envoy.tls
    return GatewayRuntime(
        host="0.0.0.0",  # noqa: S104 - in a container of its own
        port=GATEWAY_PORT,
        admin_port=ENVOY_ADMIN_PORT,
        status_port=ENVOY_STATUS_PORT,
        xds_dir=_FOLDER,
        endpoints={name: (Endpoint(host=name, port=WEB_PORT),) for name in workspace.service_names},
        tls=PurePosixPath(tls) if tls else None,
    )


def render_deployed_envoy(workspace: Workspace, runtime: GatewayRuntime | None = None) -> Iterator[File]:
    """Yield ``envoy.yaml`` and, unless the manifest wants one static file, what it watches beside it.

    The files come in the order in which a running gateway must get them.
    """
    where = runtime or deployed_runtime(workspace)
    if workspace.production.envoy.form == "static":
        whole = static_bootstrap(workspace, where, dns_clusters(workspace, where))
        yield _file("envoy.yaml", _with_status(whole, where))
        return
    yield from _watched_files(workspace, where)
    sources = {f"{name}_config": _watched(name, where) for name in ("lds", "cds")}
    yield _file("envoy.yaml", _with_status(dynamic_bootstrap(workspace, where, sources), where))


def _watched_files(workspace: Workspace, runtime: GatewayRuntime) -> Iterator[File]:
    public = listener(workspace, runtime, routes=routes_from(_watched("rds", runtime)))
    contents = {
        "cds": ("cluster.v3.Cluster", dns_clusters(workspace, runtime)),
        "rds": ("route.v3.RouteConfiguration", [route_configuration(workspace)]),
        "lds": ("listener.v3.Listener", [public]),
    }
    for name, (kind, bodies) in contents.items():
        yield _file(f"{name}.yaml", discovered(f"envoy.config.{kind}", bodies))


def _watched(name: str, runtime: GatewayRuntime) -> Json:
    return watched_file(runtime.xds_dir / f"{name}.yaml", folder=runtime.xds_dir)


def _with_status(bootstrap: Json, runtime: GatewayRuntime) -> Json:
    """Show readiness and metrics to the network, and no more of Envoy's own pages."""
    static = bootstrap.get("static_resources", {"listeners": [], "clusters": []})
    return {
        **bootstrap,
        "static_resources": {
            "listeners": [*static["listeners"], status_listener(runtime)],
            "clusters": [*static["clusters"], status_cluster(runtime)],
        },
    }


def _file(name: str, content: Json) -> File:
    return File(path=PurePosixPath(name), content=heading(_KIND) + yaml_text(content))
