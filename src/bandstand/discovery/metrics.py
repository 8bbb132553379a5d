"""Metrics of what is in memory, with one sample for each service that it tells of."""

from collections.abc import Callable
from typing import Final

from bandstand.context import gauge

__all__ = ["measure"]

_age: Final = gauge(
    "bandstand_discovery_age_seconds", "Seconds since the registry last told of the service.", ("service",)
)
_count: Final = gauge("bandstand_discovery_instances", "Healthy instances of the service in memory.", ("service",))


def measure(service: str, *, age: Callable[[], float], healthy: Callable[[], int]) -> None:
    """Set both metrics of ``service`` to what these functions return when they are read; ``age`` is in seconds.

    They are called by the thread that renders the metrics and must not wait for anything.
    """
    _age.labels(service).set_function(age)
    _count.labels(service).set_function(healthy)
