"""What others may see of the gateway itself: whether it is ready, and its metrics."""

from typing import Final

from bandstand.workspace.export.envoy.values import GatewayRuntime, Json, typed

__all__ = ["status_cluster", "status_listener"]

_CLUSTER: Final = "admin"
_PAGES: Final = ("/ready", "/stats/prometheus")


def status_listener(runtime: GatewayRuntime) -> Json:
    """Return a listener that shows two of Envoy's own pages to the network; the others stay on the loopback."""
    routes = [{"match": {"path": page}, "route": {"cluster": _CLUSTER}} for page in _PAGES]
    hosts = [{"name": "status", "domains": ["*"], "routes": routes}]
    router = typed("envoy.extensions.filters.http.router.v3.Router")
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="status",
        route_config={"name": "status", "virtual_hosts": hosts},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": router}],
    )
    address = {"address": runtime.host or "127.0.0.1", "port_value": runtime.status_port}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": "status", "address": {"socket_address": address}, "filter_chains": [chain]}


def status_cluster(runtime: GatewayRuntime) -> Json:
    """Return where these pages come from."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": runtime.admin_port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": _CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "load_assignment": {"cluster_name": _CLUSTER, "endpoints": endpoints},
    }
