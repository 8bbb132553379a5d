"""Django system checks: the limits of calls make sense."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from bandstand.client.policies import configured_policies
from bandstand.exceptions import ConfigurationError

__all__ = ["check_client", "register_checks"]


def register_checks() -> None:
    """Register the room's checks with Django."""
    register(check_client)


def check_client(**_: Any) -> list[CheckMessage]:
    """Check ``BANDSTAND["CLIENT"]``."""
    try:
        configured_policies()
    except ConfigurationError as error:
        hint = 'Correct BANDSTAND["CLIENT"], or leave the key out.'
        return [Error(fault, hint=hint, id="bandstand.client.E001") for fault in error.faults]
    return []
