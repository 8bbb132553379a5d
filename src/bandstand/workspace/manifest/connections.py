"""How many database connections the processes of a service may open, and so how many the cluster must offer."""

from collections.abc import Iterable
from typing import Final

import msgspec

from bandstand.conf import Settings
from bandstand.workspace.manifest.model import Service

__all__ = [
    "PLATFORM_CONNECTIONS",
    "STATEMENT_TIMEOUT",
    "ServiceConnections",
    "connection_budget",
    "max_connections",
    "role_limit",
    "web_pool",
    "worker_pool",
]

# Each check of /health/ready/ asks on a thread of its own, while all threads of the web server may be at work.
_READINESS: Final = 1
# Relay (two), retrier, housekeeping and readiness, each on a thread of its own beside the handlers.
_WORKER_THREADS: Final = 5
# Outside the pool: what listens for NOTIFY.
_LISTENER: Final = 1
# Migrations, seeds, and commands that somebody runs by hand.
_COMMANDS: Final = 8
STATEMENT_TIMEOUT: Final = "5min"
"""Time limit of a service's statements, unless it sets another one, as migrations do."""
# The runner, tools, and the three that PostgreSQL keeps for its superuser.
PLATFORM_CONNECTIONS: Final = 20


def web_pool(service: Service) -> int:
    """Return the connections that the web process of ``service`` needs for all its threads to work at once."""
    return service.threads + _READINESS


def worker_pool(service: Service) -> int:
    """Return those of its worker. A service that gives it more threads may do so up to those of the web process."""
    return max(Settings(service=service.name).events.threads, service.threads) + _WORKER_THREADS


class ServiceConnections(msgspec.Struct, frozen=True, kw_only=True):
    """What one service may open at one moment: all its web processes, its worker, and commands beside them."""

    service: str
    web: int
    worker: int
    commands: int

    @property
    def total(self) -> int:
        """All of them together."""
        return self.web + self.worker + self.commands


def connection_budget(services: Iterable[Service], *, replicas: int = 1) -> tuple[ServiceConnections, ...]:
    """Return what each service may open; ``replicas`` is how many web processes each of them has."""
    return tuple(
        ServiceConnections(
            service=service.name,
            web=replicas * web_pool(service),
            worker=worker_pool(service) + _LISTENER if service.worker else 0,
            commands=_COMMANDS,
        )
        for service in services
    )


def role_limit(service: Service, *, replicas: int = 1) -> int:
    """Return how many connections the role of ``service`` may have at one moment.

    That is twice what its processes need, as while a release replaces them: a bound for a service that goes wrong, so
    that it does not take the connections of others.
    """
    [budget] = connection_budget([service], replicas=replicas)
    return 2 * budget.total


def max_connections(services: Iterable[Service], *, replicas: int = 1) -> int:
    """Return how many connections all ``services`` together may open at one moment, with room for the platform.

    ``replicas`` is how many web processes each of them has.
    """
    return PLATFORM_CONNECTIONS + sum(each.total for each in connection_budget(services, replicas=replicas))
