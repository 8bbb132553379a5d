"""What Envoy reads once, at its start."""

from collections.abc import Mapping
from typing import Final

from bandstand.workspace.export.envoy.listener import listener
from bandstand.workspace.export.envoy.routes import route_configuration
from bandstand.workspace.export.envoy.values import GatewayRuntime, Json, typed
from bandstand.workspace.manifest import Workspace

__all__ = ["dynamic_bootstrap", "static_bootstrap"]

MAX_CONNECTIONS: Final = 10_000
MAX_HEAP_BYTES: Final = 512 * 1024 * 1024


def dynamic_bootstrap(workspace: Workspace, runtime: GatewayRuntime, sources: Mapping[str, Json]) -> Json:
    """Return a bootstrap that finds listeners and clusters in ``sources``, files that it watches."""
    return {**_process(workspace, runtime), "dynamic_resources": dict(sources)}


def static_bootstrap(workspace: Workspace, runtime: GatewayRuntime, clusters: list[Json]) -> Json:
    """Return a bootstrap that holds listener, routes and clusters itself."""
    public = listener(workspace, runtime, routes={"route_config": route_configuration(workspace)})
    resources = {"listeners": [public], "clusters": clusters}
    return {**_process(workspace, runtime), "static_resources": resources}


def _process(workspace: Workspace, runtime: GatewayRuntime) -> Json:
    return {
        "node": {"id": f"{workspace.name}-gateway", "cluster": workspace.name},
        "admin": _admin(runtime),
        "overload_manager": _overload_manager(),
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


def _overload_manager() -> Json:
    """Bounds for the process, whatever clients do: the gateway refuses before the machine suffers."""
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            _monitor("fixed_heap", "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=MAX_HEAP_BYTES),
            _monitor(
                "global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=MAX_CONNECTIONS,
            ),
        ],
        "actions": [_at_heap("shrink_heap", 0.9), _at_heap("stop_accepting_requests", 0.95)],
    }


def _monitor(name: str, kind: str, **limits: int) -> Json:
    config = typed(f"envoy.extensions.resource_monitors.{kind}", **limits)
    return {"name": f"envoy.resource_monitors.{name}", "typed_config": config}


def _at_heap(action: str, share: float) -> Json:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{action}", "triggers": [trigger]}
