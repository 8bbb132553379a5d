"""The door itself: what it listens on, what it refuses, and what it does to every request on its way."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Final

from bandstand.workspace.export.envoy.encryption import transport_socket
from bandstand.workspace.export.envoy.filters import early_mutations, http_filters
from bandstand.workspace.export.envoy.problems import local_replies
from bandstand.workspace.export.envoy.values import GatewayRuntime, Json, typed
from bandstand.workspace.manifest import Workspace

__all__ = ["listener", "routes_from"]

MAX_HEADERS_KB: Final = 16
MAX_HEADERS: Final = 60
# Of one connection, in bytes, for what is not read or written yet; a body that is collected has its own limit.
BUFFER_LIMIT: Final = 32 * 1024


def listener(workspace: Workspace, runtime: GatewayRuntime, *, routes: Json) -> Json:
    """Return the listener for clients; ``routes`` is where its routes come from."""
    return {
        "name": "public",
        "address": {"socket_address": {"address": runtime.host or workspace.gateway.host, "port_value": runtime.port}},
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "filter_chains": list(_chains(workspace, runtime, routes)),
    }


def routes_from(source: Json) -> Json:
    """Return where routes come from that change while the gateway runs."""
    return {"rds": {"route_config_name": "public", "config_source": source}}


def _chains(workspace: Workspace, runtime: GatewayRuntime, routes: Json) -> Iterator[Json]:
    """Yield how connections are served: those of trusted proxies apart, so that nobody else is asked whom he is for."""
    proxies = workspace.gateway.trusted_proxies
    if proxies:
        peers = {"source_prefix_ranges": _ranges(proxies)}
        yield {"filter_chain_match": peers, **_chain(workspace, runtime, routes, _trust_in(proxies))}
    yield _chain(workspace, runtime, routes, _trust_in_nobody())


def _chain(workspace: Workspace, runtime: GatewayRuntime, routes: Json, trust: Json) -> Json:
    manager = _connection_manager(workspace, routes, trust)
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if runtime.tls:
        chain["transport_socket"] = transport_socket(runtime.tls)
    return chain


def _connection_manager(workspace: Workspace, routes: Json, trust: Json) -> Json:
    return typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="public",
        **routes,
        **trust,
        **_reading(),
        **_limits(workspace),
        access_log=[_access_log()],
        local_reply_config=local_replies(),
        http_filters=http_filters(workspace),
    )


def _trust_in_nobody() -> Json:
    """The gateway is the edge: nothing that a client says of itself is believed."""
    return {"use_remote_address": True, "early_header_mutation_extensions": [early_mutations()]}


def _trust_in(proxies: tuple[str, ...]) -> Json:
    """The client is the last address in ``X-Forwarded-For`` that is no proxy; the scheme is the one the proxy names."""
    detection = typed(
        "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
        xff_trusted_cidrs={"cidrs": _ranges(proxies)},
        skip_xff_append=False,
    )
    return {
        "use_remote_address": False,
        "original_ip_detection_extensions": [
            {"name": "envoy.http.original_ip_detection.xff", "typed_config": detection}
        ],
        "early_header_mutation_extensions": [early_mutations("x-forwarded-for")],
    }


def _ranges(networks: Iterable[str]) -> list[Json]:
    found = [ip_network(network) for network in networks]
    return [{"address_prefix": str(network.network_address), "prefix_len": network.prefixlen} for network in found]


def _reading() -> Json:
    """What is believed of a request, and how its path is read, whoever sent it."""
    return {
        # Envoy takes private addresses for internal ones and obeys their x-envoy-* headers: send this POST again, wait
        # longer. No client comes from the broadcast address, and an empty list would mean the default.
        "internal_address_config": {"cidr_ranges": _ranges(["255.255.255.255/32"])},
        "generate_request_id": True,
        "preserve_external_request_id": False,
        "normalize_path": True,
        "merge_slashes": True,
        # No path of an API holds an escaped slash; one that does tries to pass a route by.
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "OVERWRITE",
        "server_name": "gateway",
    }


def _limits(workspace: Workspace) -> Json:
    timeout = workspace.gateway.timeout
    return {
        "max_request_headers_kb": MAX_HEADERS_KB,
        "common_http_protocol_options": {
            "idle_timeout": "60s",
            "max_headers_count": MAX_HEADERS,
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "request_headers_timeout": "5s",
        "request_timeout": "30s",
        # Longer than a request may take: it ends streams that stand still, it never decides how long a service has.
        "stream_idle_timeout": f"{timeout + 30:g}s",
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1_048_576,
        },
    }


def _access_log() -> Json:
    """One JSON line on standard output for each request, without the query, which may hold what is private."""
    fields = {
        "ts": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "level": "INFO",
        "logger": "gateway.access",
        "message": "request",
        "service": "gateway",
        "process": "gateway",
        "correlation_id": "%REQ(X-CORRELATION-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "status": "%RESPONSE_CODE%",
        "duration_ms": "%DURATION%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "route": "%ROUTE_NAME%",
        "upstream": "%UPSTREAM_HOST%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
    }
    log = typed("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", log_format={"json_format": fields})
    return {"name": "envoy.access_loggers.stdout", "typed_config": log}
