"""Whether a service can work, told to probes in status words and to the log with reasons.

- ``register(name, check, ready=True)``: one more check; ``database`` and ``migrations`` are there from the start.
  One that raises ``OutOfDate(text, age=seconds)`` has the age told.
- ``report()``: all answers together, as a ``Report``. Checks run with a time limit, and their answers are kept for a
  moment, so that probes cost little.
- ``before_ready(name, step)``: what is done once before readiness is said for the first time.
- ``start_draining()``: readiness answers 503 from now on. ``is_draining()`` says so. ``drain_on_sigterm()`` lets
  SIGTERM do it, and holds the server's own stop back for ``BANDSTAND["HEALTH"]["DRAIN"]`` seconds.
  ``wait_until_draining(timeout)`` is for threads, ``when_drained(function)`` for what is done last, and
  ``hears_sigterm()`` says whether SIGTERM would come here first. ``stay_ready_while(others_serve)`` keeps readiness
  while other processes go on to serve the same address.
- ``bandstand.health.urls``: ``/health/``, ``/health/live/`` and ``/health/ready/``.
"""

from bandstand.health import database
from bandstand.health.drain import (
    drain_on_sigterm,
    hears_sigterm,
    is_draining,
    start_draining,
    stay_ready_while,
    wait_until_draining,
    when_drained,
)
from bandstand.health.registry import Check, OutOfDate, register, unregister
from bandstand.health.reports import Report, report
from bandstand.health.warming import before_ready

__all__ = [
    "Check",
    "OutOfDate",
    "Report",
    "before_ready",
    "drain_on_sigterm",
    "hears_sigterm",
    "is_draining",
    "register",
    "report",
    "start_draining",
    "stay_ready_while",
    "unregister",
    "wait_until_draining",
    "when_drained",
]

register("database", database.check_database)
register("migrations", database.check_migrations)
