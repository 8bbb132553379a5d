"""System checks."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError
from django.db import connections

from bandstand.conf import get_settings
from bandstand.events.databases import faults, shortcomings
from bandstand.exceptions import ConfigurationError

__all__ = ["check_broker", "check_database", "check_transactions", "tell_shortcomings"]


@register(Tags.compatibility, deploy=True)
def check_broker(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The memory broker reaches nobody outside its process."""
    del app_configs, kwargs
    if not get_settings().events.broker_url.startswith("memory:"):
        return []
    return [
        CheckWarning(
            "Events go to the memory broker, so they reach no other service.",
            hint="Set BROKER_URL to nats://… or amqp://…",
            id="bandstand.events.W001",
        )
    ]


@register(Tags.compatibility)
def check_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The outbox must be in a database that exists and that has transactions."""
    del app_configs, kwargs
    try:
        alias = get_settings().events.database
    except ConfigurationError:
        return []  # told by whoever reads the settings first
    if alias not in connections.settings:
        return [
            Error(
                f"The events are to be kept in the database {alias!r}, which DATABASES does not have.",
                hint='Correct BANDSTAND["EVENTS"]["DATABASE"].',
                id="bandstand.events.E001",
            )
        ]
    return []


@register(Tags.database)
def check_transactions(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The tables must have transactions; runs with `check --database` and `migrate`, and when the worker starts."""
    del app_configs, kwargs
    try:
        alias = get_settings().events.database
        return faults(connections[alias]) if alias in (databases or ()) else []
    except (ConfigurationError, DatabaseError):
        return []  # wrong or down, which others say


@register(Tags.compatibility, deploy=True)
def tell_shortcomings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What the chosen database can't do, and what happens instead."""
    del app_configs, kwargs
    try:
        alias = get_settings().events.database
        return list(shortcomings(connections[alias])) if alias in connections.settings else []
    except (ConfigurationError, DatabaseError):
        return []
