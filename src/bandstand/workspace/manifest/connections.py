"""How many database connections the processes of a service may open, and so how many the cluster must offer."""

from collections.abc import Iterable
from typing import Final

from bandstand.conf import Settings
from bandstand.workspace.manifest.model import Service

__all__ = ["max_connections", "web_pool", "worker_pool"]

# Each check of /health/ready/ asks on a thread of its own, while all threads of the web server may be at work.
_READINESS: Final = 1
# Relay (two), retrier, housekeeping and readiness, each on a thread of its own beside the handlers.
_WORKER_THREADS: Final = 5
# Outside the pool: what listens for NOTIFY.
_LISTENER: Final = 1
# Migrations, seeds, and commands that somebody runs by hand.
_COMMANDS: Final = 8
# The runner, tools, and the three that PostgreSQL keeps for its superuser.
_PLATFORM: Final = 20


def web_pool(service: Service) -> int:
    """Return the connections that the web process of ``service`` needs for all its threads to work at once."""
    return service.threads + _READINESS


def worker_pool(service: Service) -> int:
    """Return those of its worker. A service that gives it more threads may do so up to those of the web process."""
    return max(Settings(service=service.name).events.threads, service.threads) + _WORKER_THREADS


def max_connections(services: Iterable[Service], *, replicas: int = 1) -> int:
    """Return how many connections all ``services`` together may open at one moment, with room for the platform.

    ``replicas`` is how many web processes each of them has.
    """
    return _PLATFORM + sum(_of(service, replicas) for service in services)


def _of(service: Service, replicas: int) -> int:
    worker = worker_pool(service) + _LISTENER if service.worker else 0
    return replicas * web_pool(service) + worker + _COMMANDS
