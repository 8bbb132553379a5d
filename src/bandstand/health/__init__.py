"""Whether a service can work, told to probes in status words and to the log with reasons.

- ``register(name, check, ready=True)``: one more check; ``database`` and ``migrations`` are there from the start.
- ``report()``: all answers together, as a ``Report``. Checks run with a time limit, and their answers are kept for a
  moment, so that probes cost little.
- ``start_draining()``: readiness answers 503 from now on. ``is_draining()`` says so.
- ``bandstand.health.urls``: ``/health/``, ``/health/live/`` and ``/health/ready/``.
"""

from bandstand.health.database import check_database, check_migrations
from bandstand.health.drain import is_draining, start_draining
from bandstand.health.registry import Check, register, unregister
from bandstand.health.report import Report, report

__all__ = ["Check", "Report", "is_draining", "register", "report", "start_draining", "unregister"]

register("database", check_database)
register("migrations", check_migrations)
