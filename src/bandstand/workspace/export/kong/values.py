"""Names and forms that several parts of the configuration share."""

from typing import Any, Final, TypeAlias

__all__ = ["CONNECT_MILLISECONDS", "RETRIES", "Json", "milliseconds", "upstream_name"]

Json: TypeAlias = dict[str, Any]

CONNECT_MILLISECONDS: Final = 500
RETRIES: Final = 2


def milliseconds(seconds: float) -> int:
    """Return seconds in the unit of Kong."""
    return round(seconds * 1000)


def upstream_name(service: str) -> str:
    """Return the host by which Kong finds the instances of a service; it is no name of the network."""
    return f"{service}.upstream"
