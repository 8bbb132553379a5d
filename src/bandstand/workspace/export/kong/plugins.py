"""What Kong does to every request on its way, by the plugins that it brings along."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from bandstand.conf import wire
from bandstand.workspace.export.gateway import (
    ALLOWED_HEADERS,
    ALLOWED_METHODS,
    CORS_MAX_AGE,
    EXPOSED_HEADERS,
    PROBLEMS,
    stripped_headers,
)
from bandstand.workspace.export.kong.options import KongOptions
from bandstand.workspace.export.kong.values import Json, milliseconds
from bandstand.workspace.manifest import RateLimit, Route, Workspace

__all__ = ["PLUGINS", "everywhere", "require_token", "route_limit", "termination"]

# All that Kong need load.
PLUGINS: Final = (
    "correlation-id", "cors", "jwt", "rate-limiting", "request-size-limiting", "request-termination",
    "request-transformer",
)  # fmt: skip
_KONG_LIMIT_HEADERS: Final = tuple(
    f"{prefix}{name}"
    for prefix, names in (
        ("ratelimit-", ("limit", "remaining", "reset")),
        ("x-ratelimit-", ("limit-minute", "remaining-minute", "limit-hour", "remaining-hour")),
    )
    for name in names
)


def everywhere(workspace: Workspace, options: KongOptions) -> Iterator[Json]:
    """Yield the plugins that act on every route."""
    gateway = workspace.gateway
    yield _plugin("correlation-id", header_name=wire.CORRELATION_ID, generator="uuid", echo_downstream=True)
    if gateway.cors_origins:  # without any, Kong would allow all
        yield _cors(gateway.cors_origins)
    yield _rate_limiting(gateway.rate_limit, options)
    yield _plugin(
        "request-size-limiting",
        allowed_payload_size=gateway.max_body_bytes,
        size_unit="bytes",
        require_content_length=False,
    )
    yield _headers(gateway.timeout)


def route_limit(route: Route, options: KongOptions) -> Iterator[Json]:
    """Yield the route's own limit, which stands for that of the gateway."""
    if route.rate_limit is not None:
        yield _rate_limiting(route.rate_limit, options)


def require_token(route: Route, options: KongOptions) -> Iterator[Json]:
    """Yield what refuses a request without a token of a user, where the route needs one.

    The key is found by its id, so that keys rotate. Kong checks neither audience nor type; the services do.
    """
    if route.path in options.token_routes:
        yield _plugin(
            "jwt",
            key_claim_name="kid",
            claims_to_verify=["exp"],
            header_names=["authorization"],
            uri_param_names=[],
            cookie_names=[],
            run_on_preflight=False,
        )


def termination(status: int) -> Json:
    """Return what answers with a problem instead of asking a service."""
    problem = PROBLEMS[status]
    body = {"type": "about:blank", "title": problem.title, "status": status}
    document = msgspec.json.encode({**body, "detail": problem.detail, "code": problem.code, "service": "gateway"})
    return _plugin(
        "request-termination", status_code=status, content_type="application/problem+json", body=document.decode()
    )


def _cors(origins: tuple[str, ...]) -> Json:
    """Only the named origins. Without credentials: users are known by a bearer token, never by a cookie.

    As expressions: of a single plain origin Kong tells every page, whether or not that page is of the origin.
    """
    return _plugin(
        "cors",
        origins=[f"^{re.escape(origin)}$" for origin in origins],
        methods=list(ALLOWED_METHODS),
        headers=[name.lower() for name in ALLOWED_HEADERS],
        exposed_headers=[*(name.lower() for name in EXPOSED_HEADERS), *_KONG_LIMIT_HEADERS],
        max_age=CORS_MAX_AGE,
        credentials=False,
        preflight_continue=False,
    )


def _rate_limiting(limit: RateLimit, options: KongOptions) -> Json:
    """Count by the address of the connection. While Redis is away requests pass uncounted, as they must."""
    config = {"minute": limit.minute, "hour": limit.hour, "limit_by": "ip", "fault_tolerant": True}
    return _plugin("rate-limiting", **config, hide_client_headers=False, **_counters(options))


def _counters(options: KongOptions) -> Json:
    redis = options.counters
    if redis is None:
        return {"policy": "local"}
    place: Json = {"host": redis.host, "port": redis.port, "timeout": 500, "database": 0}
    if redis.password_variable:
        place["password"] = f"{{vault://env/{redis.password_variable.lower().replace('_', '-')}}}"
    if options.version == "2.8":
        return {"policy": "redis", **{f"redis_{key}": value for key, value in place.items()}}
    return {"policy": "redis", "redis": place}


def _headers(timeout: float) -> Json:
    """Take out what only the platform may say, and say how long the gateway waits, whatever the client said of it."""
    told = f"{wire.REQUEST_TIMEOUT_MS.lower()}:{milliseconds(timeout)}"
    removed = [name for name in stripped_headers() if name != wire.REQUEST_TIMEOUT_MS.lower()]
    return _plugin(
        "request-transformer",
        remove={"headers": removed},
        replace={"headers": [told]},
        add={"headers": [told]},
    )


def _plugin(name: str, /, **config: object) -> Json:
    return {"name": name, "config": config}
