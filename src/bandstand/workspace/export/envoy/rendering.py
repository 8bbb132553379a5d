"""The files that a gateway is made of."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

import msgspec

from bandstand.workspace.export.envoy.bootstrap import dynamic_bootstrap, static_bootstrap
from bandstand.workspace.export.envoy.clusters import assignment, clusters, endpoints_file
from bandstand.workspace.export.envoy.listener import listener, watched_routes
from bandstand.workspace.export.envoy.routes import route_configuration
from bandstand.workspace.export.envoy.values import GatewayRuntime, Json, typed
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
    public = listener(workspace, runtime, routes=watched_routes(runtime))
    yield _watched("lds.json", "envoy.config.listener.v3.Listener", [public])
    yield _file(BOOTSTRAP, dynamic_bootstrap(workspace, runtime))


def render_endpoints(workspace: Workspace, runtime: GatewayRuntime, services: Iterable[str] = ()) -> Iterator[File]:
    """Yield the files of endpoints of ``services`` (all when none is named): enough for a change of health."""
    for name in tuple(services) or workspace.service_names:
        yield _watched(
            endpoints_file(name), "envoy.config.endpoint.v3.ClusterLoadAssignment", [assignment(name, runtime)]
        )


def render_static(workspace: Workspace, runtime: GatewayRuntime) -> Iterator[File]:
    """Yield one bootstrap that holds everything, for ``envoy --mode validate``, which reads no watched file."""
    yield _file(BOOTSTRAP, static_bootstrap(workspace, runtime))


def _watched(name: str, kind: str, bodies: list[Json]) -> File:
    """A file that Envoy watches. Its version tells in Envoy's own pages and statistics what the gateway runs."""
    resources = [typed(kind, **body) for body in bodies]
    version = hashlib.sha256(msgspec.json.encode(resources)).hexdigest()[:12]
    return _file(name, {"version_info": version, "resources": resources})


def _file(name: str, content: Json) -> File:
    text = msgspec.json.format(msgspec.json.encode(content), indent=2).decode()
    return File(path=PurePosixPath(name), content=f"{text}\n")
