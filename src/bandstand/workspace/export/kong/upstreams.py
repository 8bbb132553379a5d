"""The services behind the gateway: where they are, and how Kong learns that an instance is well."""

from bandstand.workspace.export.deployment import READY_PATH, WEB_PORT
from bandstand.workspace.export.gateway import RETRIED_STATUSES
from bandstand.workspace.export.kong.values import Json, upstream_name
from bandstand.workspace.manifest import Workspace

__all__ = ["upstreams"]


def upstreams(workspace: Workspace) -> list[Json]:
    """Return one upstream for each service. Kong asks DNS for its name, and each address is an instance."""
    return [
        {
            "name": upstream_name(name),
            "algorithm": "least-connections",
            "healthchecks": {"active": _active(), "passive": _passive()},
            "targets": [{"target": f"{name}:{WEB_PORT}", "weight": 100}],
        }
        for name in workspace.service_names
    ]


def _active() -> Json:
    """Ask each instance whether it is ready. One that drains answers 503, and is left out before it closes."""
    return {
        "type": "http",
        "http_path": READY_PATH,
        "timeout": 2,
        "concurrency": 10,
        "healthy": {"interval": 2, "successes": 1, "http_statuses": [200]},
        "unhealthy": {
            "interval": 2,
            "http_failures": 1,
            "tcp_failures": 2,
            "timeouts": 3,
            "http_statuses": [404, 429, 500, 501, *RETRIED_STATUSES, 505],
        },
    }


def _passive() -> Json:
    """Leave out an instance that says 502, 503 or 504, or can't be reached, five times; checks bring it back.

    A 500 does not count: it is a fault in the code, which every instance shares. Nor does a slow answer.
    """
    return {
        "type": "http",
        "healthy": {"successes": 0, "http_statuses": [200]},
        "unhealthy": {
            "http_failures": 5,
            "tcp_failures": 5,
            "timeouts": 0,
            "http_statuses": list(RETRIED_STATUSES),
        },
    }
