"""Timestamps by psycopg's C code.

Django 5.2 reads each one in Python (2.7 µs), Django 6.1 in C with a step in Python for the time zone (1.0 µs). When the
connection's zone is the one that Django wants, as it is with ``USE_TZ``, the C code alone gives the same (0.25 µs).
"""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

from psycopg import adapters, postgres, pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Loader

__all__ = ["with_fast_timestamps"]

_OID = postgres.types["timestamptz"].oid
_CompiledLoader = adapters.get_loader(_OID, pq.Format.TEXT)


@lru_cache
def with_fast_timestamps(template: AdaptersMap, zone: tzinfo | None) -> AdaptersMap:
    """Return a copy of Django's adapters with the fast loader, if ``zone`` is UTC; else ``template`` itself."""
    if zone is not UTC or _CompiledLoader is None:
        return template
    copy = AdaptersMap(template)
    copy.register_loader("timestamptz", _UtcLoader)
    return copy


class _UtcLoader(Loader):
    """The compiled loader under Django's interface, which wants to see the time zone on the class."""

    timezone = UTC

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        assert _CompiledLoader is not None
        self._load: Any = _CompiledLoader(oid, context).load
        if context is not None and context.connection is not None:
            zone = context.connection.info.parameter_status("TimeZone")
            if zone == "UTC":
                self.load = self._load  # type: ignore[method-assign] # saves a call for each value

    def load(self, data: Buffer) -> datetime:
        """Return the moment in UTC, on a connection whose zone was changed."""
        value: datetime = self._load(data)
        return value.astimezone(UTC)
