"""Django system checks: DISCOVERY_URL and BANDSTAND_ADVERTISE can be used."""

from collections.abc import Callable
from typing import Any

from django.core.checks import CheckMessage, Error, register

from bandstand.conf import get_settings, wire
from bandstand.discovery.active import active_registry
from bandstand.discovery.advertising import Advertised
from bandstand.exceptions import ConfigurationError

__all__ = ["check_discovery", "register_checks"]


def register_checks() -> None:
    """Register the room's checks with Django."""
    register(check_discovery)


def check_discovery(**_: Any) -> list[CheckMessage]:
    """Check the registry's URL and the advertised address.

    That the list can be read is no matter of configuration: it may be written later.
    """
    return [
        *_faults(active_registry, hint="Correct DISCOVERY_URL.", id="bandstand.discovery.E001"),
        *_faults(
            lambda: Advertised.parse(get_settings().discovery.advertise),
            hint=f"Correct {wire.ADVERTISE}.",
            id="bandstand.discovery.E002",
        ),
    ]


def _faults(build: Callable[[], object], **words: str) -> list[CheckMessage]:
    try:
        build()
    except ConfigurationError as error:
        return [Error(fault, **words) for fault in error.faults]
    return []
