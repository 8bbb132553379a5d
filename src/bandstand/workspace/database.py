"""A PostgreSQL in production, seen from outside: how many connections it allows, and whether a pooler shares them."""

from functools import partial
from typing import Final

import msgspec

from bandstand.exceptions import ServerFailed
from bandstand.postgresql import pool_mode

__all__ = ["DatabaseLimits", "read_limits"]

_TIMEOUT: Final = 5  # seconds until a connection counts as refused


class DatabaseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``max_connections`` of PostgreSQL, and the ``pool_mode`` of a pooler before it: none, session or transaction."""

    max_connections: int
    pool_mode: str


def read_limits(url: str) -> DatabaseLimits:
    """Return the limits of the database at ``url``.

    Raises:
        ServerFailed: it does not answer there.
    """
    import psycopg  # noqa: PLC0415 - a driver, imported when it is needed

    connect = partial(psycopg.connect, url, autocommit=True, connect_timeout=_TIMEOUT)
    try:
        with connect() as connection:
            row = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
        mode = pool_mode(connect)
    except psycopg.Error as error:
        raise ServerFailed(
            f"The database can't be asked: {str(error).strip()}",
            hint="Write its URL as postgresql://user:password@host:5432/name.",
        ) from error
    return DatabaseLimits(max_connections=row[0] if row else 0, pool_mode=mode.value)
