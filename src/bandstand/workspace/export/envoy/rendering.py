"""The files that a gateway is made of."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

import msgspec

from bandstand.workspace.export.envoy.bootstrap import dynamic_bootstrap, static_bootstrap
from bandstand.workspace.export.envoy.clusters import assignment, clusters, endpoints_file, static_clusters
from bandstand.workspace.export.envoy.listener import listener, routes_from
from bandstand.workspace.export.envoy.routes import route_configuration
from bandstand.workspace.export.envoy.values import GatewayRuntime, Json
from bandstand.workspace.export.envoy.watching import discovered, watched_file
from bandstand.workspace.export.files import File
from bandstand.workspace.manifest import Workspace

__all__ = ["render_endpoints", "render_envoy", "render_static"]

BOOTSTRAP: Final = "bootstrap.json"


def render_envoy(workspace: Workspace, runtime: GatewayRuntime) -> Iterator[File]:
    """Yield the files of a gateway that changes while it runs.

    They come in the order in which a running gateway must get them: a route never leads to what is not known yet.
    """
    yield from render_endpoints(workspace, runtime)
    yield _watched("cds.json", "envoy.config.cluster.v3.Cluster", clusters(workspace, runtime))
    yield _watched("rds.json", "envoy.config.route.v3.RouteConfiguration", [route_configuration(workspace)])
    yield _watched("lds.json", "envoy.config.listener.v3.Listener", [_alone(_public(workspace, runtime))])
    sources = {f"{name}_config": watched_file(runtime.xds_dir / f"{name}.json") for name in ("lds", "cds")}
    yield _file(BOOTSTRAP, dynamic_bootstrap(workspace, runtime, sources))


def render_endpoints(workspace: Workspace, runtime: GatewayRuntime, services: Iterable[str] = ()) -> Iterator[File]:
    """Yield the files of endpoints of ``services`` (all when none is named): enough for a change of health."""
    for name in tuple(services) or workspace.service_names:
        yield _watched(
            endpoints_file(name), "envoy.config.endpoint.v3.ClusterLoadAssignment", [assignment(name, runtime)]
        )


def render_static(workspace: Workspace, runtime: GatewayRuntime) -> Iterator[File]:
    """Yield one bootstrap that holds everything, for ``envoy --mode validate``, which reads no watched file."""
    yield _file(BOOTSTRAP, static_bootstrap(workspace, runtime, static_clusters(workspace, runtime)))


def _public(workspace: Workspace, runtime: GatewayRuntime) -> Json:
    return listener(workspace, runtime, routes=routes_from(watched_file(runtime.xds_dir / "rds.json")))


def _alone(listener: Json) -> Json:
    """Keep others from listening on the listener's port.

    With ``SO_REUSEPORT``, Envoy's default, another server of this machine that asks for that too, as granian does,
    would silently get some of the clients. In production the gateway has a container of its own, and the default.
    """
    return {**listener, "enable_reuse_port": False}


def _watched(name: str, kind: str, bodies: list[Json]) -> File:
    return _file(name, discovered(kind, bodies))


def _file(name: str, content: Json) -> File:
    text = msgspec.json.format(msgspec.json.encode(content), indent=2).decode()
    return File(path=PurePosixPath(name), content=f"{text}\n")
