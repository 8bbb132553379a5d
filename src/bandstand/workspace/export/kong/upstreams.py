"""The services behind the gateway: where they are, and how Kong learns that an instance is well."""

from typing import Final

from bandstand.workspace.export.deployment import READY_PATH, WEB_PORT
from bandstand.workspace.export.gateway import RETRIED_STATUSES
from bandstand.workspace.export.kong.values import Json, upstream_name
from bandstand.workspace.manifest import Workspace

__all__ = ["upstreams"]

# The schema of Kong allows 255, with which its health checks never start.
_MOST_SUCCESSES: Final = 254
# Any of them shows that the instance was reached. Kong knows no ranges.
_ANSWERS: Final = (200, 201, 202, 204, 206, 301, 302, 303, 304, 400, 401, 403, 404, 405, 409, 412, 415, 422, 429, 500)


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
    """Leave out an instance that can't be reached five times in a row; checks bring it back.

    What it answers does not count. A 503 may be that of a service behind it, which all instances share, and Kong knows
    no bound on how many of them it leaves out.
    """
    return {
        "type": "http",
        # Without a number of successes Kong never forgets a failure between two checks, however much went well. With
        # a small one the last answers of an instance that drains would bring it back.
        "healthy": {"successes": _MOST_SUCCESSES, "http_statuses": list(_ANSWERS)},
        "unhealthy": {"http_failures": 0, "tcp_failures": 5, "timeouts": 0, "http_statuses": list(RETRIED_STATUSES)},
    }
