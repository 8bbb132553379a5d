"""Django system checks: DISCOVERY_URL can be used."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from bandstand.discovery.active import active_registry
from bandstand.exceptions import ConfigurationError

__all__ = ["check_discovery", "register_checks"]


def register_checks() -> None:
    """Register the room's checks with Django."""
    register(check_discovery)


def check_discovery(**_: Any) -> list[CheckMessage]:
    """Check the registry's URL. That its list can be read is no matter of configuration: it may be written later."""
    try:
        active_registry()
    except ConfigurationError as error:
        return [Error(fault, hint="Correct DISCOVERY_URL.", id="bandstand.discovery.E001") for fault in error.faults]
    return []
