"""Which path leads to which service, how long it may take, and what is tried again.

Kong matches a plain path as text, so that ``/api/users`` would lead ``/api/usersX`` along; a regular expression ends
where a name ends. Versions with and without are two paths of one route, and so of one limit: Kong cuts off what matched
and puts the path of its service in front.

A route is two, for Kong repeats by service and not by method. nginx, on which Kong stands, repeats POST and PATCH only
where nothing had been sent, but takes PUT and DELETE for repeatable at any time. These have a service of their own that
is never tried again.
"""

from collections.abc import Iterator
from typing import Final

from bandstand.workspace.export.deployment import WEB_PORT
from bandstand.workspace.export.gateway import ALLOWED_METHODS
from bandstand.workspace.export.kong.plugins import require_token, route_limit, termination
from bandstand.workspace.export.kong.values import CONNECT_MILLISECONDS, RETRIES, Json, milliseconds, upstream_name
from bandstand.workspace.manifest import Kong, Route, Service, Workspace

__all__ = ["other_routes", "services"]

ONCE_METHODS: Final = ("PUT", "DELETE")
REPEATED_METHODS: Final = tuple(method for method in ALLOWED_METHODS if method not in ONCE_METHODS)
# Above every path that the manifest can hold, which has at most 200 characters.
_BEFORE_ALL: Final = 1000


def services(workspace: Workspace) -> Iterator[Json]:
    """Yield the services with their routes, two for each route of the manifest."""
    kong = workspace.production.kong
    for service in workspace.services:
        for route, name in _named_routes(service):
            shared = _service(route, service, workspace)
            for part, methods, retries in ((name, REPEATED_METHODS, RETRIES), (f"{name}.once", ONCE_METHODS, 0)):
                yield {"name": part, **shared, "retries": retries, "routes": [_route(part, methods, route, kong)]}


def other_routes() -> Iterator[Json]:
    """Yield routes that lead to no service: they refuse what is not routed, after it was counted and logged."""
    # A route with one more condition is looked at before all others. Kong passes on no other upgrade.
    yield {
        "name": "refused.upgrade",
        "paths": ["/"],
        "methods": list(ALLOWED_METHODS),
        "headers": {"upgrade": ["websocket"]},
        **_handling(),
        "plugins": [termination(403)],
    }
    escaped = [_pattern(r"/.*(?:%2F|\\)")]
    yield {
        "name": "refused.escaped-slash",
        "paths": escaped,
        "methods": list(ALLOWED_METHODS),
        "regex_priority": _BEFORE_ALL,
        **_handling(),
        "plugins": [termination(400)],
    }
    yield {"name": "refused.not-found", "paths": ["/"], **_handling(), "plugins": [termination(404)]}


def _named_routes(service: Service) -> Iterator[tuple[Route, str]]:
    taken: set[str] = set()
    for route in service.routes:
        base = f"{service.name}.{route.path.strip('/.').replace('/', '-')}"
        name = base if base not in taken else f"{base}.{len(taken)}"
        taken.add(name)
        yield route, name


def _service(route: Route, service: Service, workspace: Workspace) -> Json:
    timeout = milliseconds(workspace.gateway.timeout)
    return {
        "host": upstream_name(service.name),
        "port": WEB_PORT,
        "protocol": "http",
        "path": route.path,
        "connect_timeout": CONNECT_MILLISECONDS,
        "write_timeout": timeout,
        "read_timeout": timeout,
    }


def _route(name: str, methods: tuple[str, ...], route: Route, kong: Kong) -> Json:
    plugins = [*route_limit(route, kong), *require_token(route, kong)]
    return {
        "name": name,
        "paths": [_pattern(_expression(path, exact=route.exact)) for path in route.public_paths],
        "methods": list(methods),
        # A longer path says more, and must be looked at first.
        "regex_priority": len(route.path),
        **_handling(),
        **({"plugins": plugins} if plugins else {}),
    }


def _handling() -> Json:
    """Cut the matched path off, keep the client's Host, and collect a body before a service sees any of it."""
    return {
        "strip_path": True,
        "path_handling": "v0",
        "preserve_host": True,
        "protocols": ["http", "https"],
        "request_buffering": True,
        "response_buffering": True,
    }


def _expression(path: str, *, exact: bool) -> str:
    """Return the path and, unless it is exact, what lies below it. No look-ahead: Kong's engine has none."""
    escaped = path.replace(".", r"\.")
    return f"{escaped}$" if exact else f"{escaped}(?:/|$)"


def _pattern(expression: str) -> str:
    """Kong knows a regular expression by its tilde."""
    return f"~{expression}"
