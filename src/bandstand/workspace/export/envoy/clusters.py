"""The services behind the gateway: where they are, and how much the gateway asks of them."""

from typing import Final

from bandstand.workspace.export.deployment import READY_PATH
from bandstand.workspace.export.envoy.values import Endpoint, GatewayRuntime, Json, typed
from bandstand.workspace.export.envoy.watching import watched_file
from bandstand.workspace.manifest import Workspace

__all__ = ["assignment", "clusters", "dns_clusters", "endpoints_file", "static_clusters"]

CONNECT_TIMEOUT: Final = "0.5s"
_PROTOCOL_NAME: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(workspace: Workspace, runtime: GatewayRuntime) -> list[Json]:
    """Return one cluster for each service, with its endpoints in a watched file."""
    return [
        {
            **_cluster(name),
            "type": "EDS",
            "eds_cluster_config": {"eds_config": watched_file(runtime.xds_dir / endpoints_file(name))},
        }
        for name in workspace.service_names
    ]


def static_clusters(workspace: Workspace, runtime: GatewayRuntime) -> list[Json]:
    """Return one cluster for each service, with its endpoints inside."""
    return [
        {**_cluster(name), "type": "STATIC", "load_assignment": assignment(name, runtime)}
        for name in workspace.service_names
    ]


def dns_clusters(workspace: Workspace, runtime: GatewayRuntime) -> list[Json]:
    """Return one cluster for each service: every address that DNS has for its name is an instance.

    Nobody tells this gateway who is well, so it asks each instance whether it is ready.
    """
    return [
        {
            **_cluster(name),
            "cluster_type": {"name": "envoy.cluster.dns", "typed_config": _by_name()},
            "health_checks": [_readiness()],
            "load_assignment": assignment(name, runtime),
        }
        for name in workspace.service_names
    ]


def _by_name() -> Json:
    return typed(
        "envoy.extensions.clusters.dns.v3.DnsCluster",
        dns_lookup_family="V4_PREFERRED",
        dns_refresh_rate="5s",
        dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "5s"},
    )


def _readiness() -> Json:
    """An instance that drains answers 503 here, which counts at once, and is left out before it closes."""
    return {
        "timeout": "2s",
        "interval": "2s",
        "no_traffic_interval": "2s",
        "unhealthy_threshold": 3,
        "healthy_threshold": 1,
        "http_health_check": {"path": READY_PATH},
    }


def endpoints_file(service: str) -> str:
    """Return the name of the file that holds the endpoints of a service."""
    return f"eds-{service}.json"


def assignment(service: str, runtime: GatewayRuntime) -> Json:
    """Return the endpoints of a service and the health of each."""
    endpoints = [_endpoint(endpoint) for endpoint in runtime.endpoints.get(service, ())]
    return {"cluster_name": service, "endpoints": [{"lb_endpoints": endpoints}]}


def _endpoint(endpoint: Endpoint) -> Json:
    return {"health_status": str(endpoint.health), "endpoint": {"address": _address(endpoint.host, endpoint.port)}}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(service: str) -> Json:
    return {
        "name": service,
        "connect_timeout": CONNECT_TIMEOUT,
        "lb_policy": "LEAST_REQUEST",
        # A service all of whose instances are unhealthy answers 503 at once, and is not tried in a panic.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # The supervisor removes an instance that it knows to be gone; that must hold although it looked healthy.
        "ignore_health_on_host_removal": True,
        "circuit_breakers": {"thresholds": [_thresholds()]},
        "outlier_detection": _outlier_detection(),
        "typed_extension_protocol_options": {_PROTOCOL_NAME: _upstream_protocol()},
    }


def _thresholds() -> Json:
    """Bulkhead of one service: past it a request gets 503 at once. Retries are at most a fifth of what is in flight."""
    return {
        "priority": "DEFAULT",
        "max_connections": 512,
        "max_pending_requests": 256,
        "max_requests": 512,
        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 3},
        "track_remaining": True,
    }


def _outlier_detection() -> Json:
    """Eject an instance that can't be reached or says 502, 503 or 504 five times in a row, never more than half.

    A 500 does not count: it is a fault in the code, which every instance shares.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 5,
        "consecutive_gateway_failure": 5,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "30s",
        "max_ejection_percent": 50,
    }


def _upstream_protocol() -> Json:
    return typed(
        _PROTOCOL_NAME,
        explicit_http_config={"http_protocol_options": {}},
        # Shorter than servers keep an idle connection, so that none is closed under a request that just went out.
        common_http_protocol_options={"idle_timeout": "1.5s"},
    )
