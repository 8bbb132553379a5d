"""Which path leads to which service, how long it may take, and what is tried again."""

from collections.abc import Iterator
from typing import Final

from bandstand.workspace.export.envoy.values import Json, typed
from bandstand.workspace.export.gateway import (
    ALLOWED_HEADERS,
    ALLOWED_METHODS,
    CORS_MAX_AGE,
    EXPOSED_HEADERS,
    RETRIED_STATUSES,
    SAFE_METHODS,
)
from bandstand.workspace.manifest import Route, Service, Workspace

__all__ = ["LIMIT_KEY", "LIMIT_METADATA", "route_configuration"]

# The limit of a route travels as metadata, so that all limits stand in one filter and share its buckets.
LIMIT_METADATA: Final = "bandstand"
LIMIT_KEY: Final = "limit"


def route_configuration(workspace: Workspace) -> Json:
    """Return all routes. A path that none of them names is answered 404 by the gateway itself."""
    host = {
        "name": workspace.name,
        "domains": ["*"],
        "typed_per_filter_config": {"envoy.filters.http.cors": _cors(workspace)},
        "routes": list(_routes(workspace)),
    }
    # With validate_clusters a route to a cluster that is not there is refused as a whole, and the old routes stay.
    return {"name": "public", "validate_clusters": True, "virtual_hosts": [host]}


def _routes(workspace: Workspace) -> Iterator[Json]:
    """Longer paths come first, since Envoy takes the first that matches; safe methods have a route of their own."""
    found = [
        (path, route, service)
        for service in workspace.services
        for route in service.routes
        for path in route.public_paths
    ]
    for path, route, service in sorted(found, key=lambda entry: (-len(entry[0]), entry[0])):
        yield _route(path, route, service, workspace, safe=True)
        yield _route(path, route, service, workspace, safe=False)


def _route(path: str, route: Route, service: Service, workspace: Workspace, *, safe: bool) -> Json:
    match: Json = {"path": path} if route.exact else {"path_separated_prefix": path}
    if safe:
        match["headers"] = [{"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(SAFE_METHODS)}}}]
    action: Json = {
        "cluster": service.name,
        "timeout": f"{workspace.gateway.timeout:g}s",
        "retry_policy": _safe_retries() if safe else _unsafe_retries(),
    }
    if path != route.path:
        action["prefix_rewrite"] = route.path
    entry: Json = {"name": f"{service.name}:{path}", "match": match, "route": action}
    if route.rate_limit is not None:
        entry["metadata"] = {"filter_metadata": {LIMIT_METADATA: {LIMIT_KEY: route.path}}}
    return entry


def _safe_retries() -> Json:
    return {
        "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
        "retriable_status_codes": list(RETRIED_STATUSES),
        **_retries(),
    }


def _unsafe_retries() -> Json:
    """What may change something is sent once: tried again only where nothing of it had gone out."""
    return {"retry_on": "connect-failure,refused-stream,reset-before-request", **_retries()}


def _retries() -> Json:
    """Try another instance. With two of them a pick at random meets the same one eleven times in 1 of 2,048 tries."""
    previous_hosts = typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
    return {
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "host_selection_retry_max_attempts": 10,
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": previous_hosts}
        ],
    }


def _cors(workspace: Workspace) -> Json:
    """Only the named origins. Without credentials: users are known by a bearer token, never by a cookie."""
    return typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in workspace.gateway.cors_origins],
        allow_methods=", ".join(ALLOWED_METHODS),
        allow_headers=", ".join(ALLOWED_HEADERS).lower(),
        expose_headers=", ".join(EXPOSED_HEADERS).lower(),
        max_age=str(CORS_MAX_AGE),
        allow_credentials=False,
        forward_not_matching_preflights=False,
    )
