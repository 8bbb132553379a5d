"""What Envoy reads once, at its start."""

from typing import Final

from bandstand.workspace.export.envoy.clusters import static_clusters
from bandstand.workspace.export.envoy.listener import listener
from bandstand.workspace.export.envoy.routes import route_configuration
from bandstand.workspace.export.envoy.values import GatewayRuntime, Json, typed
from bandstand.workspace.export.envoy.watching import watched_file
from bandstand.workspace.manifest import Workspace

__all__ = ["dynamic_bootstrap", "static_bootstrap"]

MAX_CONNECTIONS: Final = 10_000


def dynamic_bootstrap(workspace: Workspace, runtime: GatewayRuntime) -> Json:
    """Return a bootstrap that finds listeners and clusters in files, and watches them."""
    return {
        **_process(workspace, runtime),
        "dynamic_resources": {
            "lds_config": watched_file(runtime.xds_dir / "lds.json"),
            "cds_config": watched_file(runtime.xds_dir / "cds.json"),
        },
    }


def static_bootstrap(workspace: Workspace, runtime: GatewayRuntime) -> Json:
    """Return a bootstrap that holds listener, routes, clusters and endpoints itself."""
    return {
        **_process(workspace, runtime),
        "static_resources": {
            "listeners": [listener(workspace, runtime, routes={"route_config": route_configuration(workspace)})],
            "clusters": static_clusters(workspace, runtime),
        },
    }


def _process(workspace: Workspace, runtime: GatewayRuntime) -> Json:
    return {
        "node": {"id": f"{workspace.name}-gateway", "cluster": workspace.name},
        "admin": _admin(runtime),
        "overload_manager": {"resource_monitors": [_connection_limit()]},
    }


def _admin(runtime: GatewayRuntime) -> Json:
    """Envoy's own pages. What could stop the gateway or change its level of logging is not among them."""
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": runtime.admin_port}},
        "allow_paths": [
            {"exact": "/ready"},
            *({"prefix": f"/{page}"} for page in ("stats", "clusters", "drain_listeners")),
        ],
    }


def _connection_limit() -> Json:
    monitor = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": typed(monitor, max_active_downstream_connections=MAX_CONNECTIONS),
    }
