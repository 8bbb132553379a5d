"""What Kong does to every request on its way, by the plugins that it brings along."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

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
from bandstand.workspace.export.kong.values import Json, milliseconds
from bandstand.workspace.manifest import Kong, RateLimit, Route, Workspace

__all__ = ["PLUGINS", "everywhere", "require_token", "route_limit", "termination"]

# All that Kong need load.
PLUGINS: Final = (
    "correlation-id", "cors", "jwt", "prometheus", "rate-limiting", "request-size-limiting", "request-termination",
    "request-transformer", "response-transformer",
)  # fmt: skip
_KONG_LIMIT_HEADERS: Final = tuple(
    f"{prefix}{name}"
    for prefix, names in (
        ("ratelimit-", ("limit", "remaining", "reset")),
        ("x-ratelimit-", ("limit-minute", "remaining-minute", "limit-hour", "remaining-hour")),
    )
    for name in names
)


def everywhere(workspace: Workspace) -> Iterator[Json]:
    """Yield the plugins that act on every route."""
    gateway = workspace.gateway
    yield _plugin("correlation-id", header_name=wire.CORRELATION_ID, generator="uuid", echo_downstream=True)
    if gateway.cors_origins:  # without any, Kong would allow all
        yield _cors(gateway.cors_origins)
    yield _rate_limiting(gateway.rate_limit, workspace.production.kong)
    yield _plugin(
        "request-size-limiting",
        allowed_payload_size=gateway.max_body_bytes,
        size_unit="bytes",
        require_content_length=False,
    )
    yield _headers(gateway.timeout)
    yield _plugin("response-transformer", remove={"headers": ["server"]})
    yield _metrics()


def route_limit(route: Route, kong: Kong) -> Iterator[Json]:
    """Yield the route's own limit, which stands for that of the gateway."""
    if route.rate_limit is not None:
        yield _rate_limiting(route.rate_limit, kong)


def require_token(route: Route, kong: Kong) -> Iterator[Json]:
    """Yield what refuses a request without a token of a user, where the route needs one.

    The key is found by its id, so that keys rotate. Kong checks neither audience nor type; the services do.
    """
    if route.path in kong.token_routes:
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


def _rate_limiting(limit: RateLimit, kong: Kong) -> Json:
    """Count by the address of the connection. While Redis is away requests pass uncounted, as they must."""
    config = {"minute": limit.minute, "hour": limit.hour, "limit_by": "ip", "fault_tolerant": True}
    return _plugin("rate-limiting", **config, hide_client_headers=False, **_counters(kong))


def _counters(kong: Kong) -> Json:
    if kong.counters == "local":
        return {"policy": "local"}
    return {"policy": "redis", "redis": _redis(kong.counters)}


def _redis(url: str) -> Json:
    """Read the place of a Redis; its password is named and never written."""
    parts = urlsplit(url)
    secured = parts.scheme == "rediss"
    return {
        "host": parts.hostname,
        "port": parts.port or 6379,
        "database": int(parts.path.strip("/") or 0),
        "timeout": 500,
        "ssl": secured,
        "ssl_verify": secured,
        **({"username": parts.username, "password": "{vault://env/redis-password}"} if parts.username else {}),
    }


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


def _metrics() -> Json:
    """Count by route and status, and show the health of each instance."""
    asked = ("status_code_metrics", "latency_metrics", "upstream_health_metrics")
    return _plugin("prometheus", per_consumer=False, **dict.fromkeys(asked, True))


def _plugin(name: str, /, **config: object) -> Json:
    return {"name": name, "config": config}
