"""The outbox in ``/health/``: a backlog that grows old makes the service degraded, never unready."""

from django.apps import apps
from django.db import connections
from django.utils.module_loading import import_string

from bandstand.conf import get_settings
from bandstand.exceptions import EventError
from bandstand.health import register

__all__ = ["BacklogTooOld", "register_checks"]


class BacklogTooOld(EventError):
    """Events are written but not relayed: the worker does not run, or the broker is down."""

    code = "backlog_too_old"


def register_checks() -> None:
    """Register the check ``outbox``; without the app ``bandstand.events`` there is nothing to check."""
    if apps.is_installed("bandstand.events"):
        register("outbox", check_outbox, ready=False)


def check_outbox() -> None:
    """Look at the age of the oldest event that waits.

    Raises:
        BacklogTooOld: it is above ``BANDSTAND["EVENTS"]["MAX_BACKLOG_AGE"]`` seconds.
        django.db.Error: the database does not answer.
    """
    settings = get_settings().events
    try:
        oldest = oldest_age(settings.database)
    finally:
        connections[settings.database].close()
    if oldest > settings.max_backlog_age:
        raise BacklogTooOld(
            f"The oldest event in the outbox has waited {oldest:.0f} s. See `manage.py events status`; "
            f"events move while `manage.py worker` runs and the broker is up."
        )


def oldest_age(alias: str) -> float:
    """Return the age of the oldest event that waits, in seconds."""
    # By name, since the front door imports this module before Django has made the models.
    return float(import_string("bandstand.events.outbox.open_outbox")(alias).oldest_age())
