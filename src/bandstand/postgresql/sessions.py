"""Whose a session of PostgreSQL is."""

from typing import Any

__all__ = ["is_own_session"]


def is_own_session(driver: Any) -> bool:
    """Whether PostgreSQL itself answers on ``driver``, a connection of psycopg.

    A pooler has a number of its own for the session. Whether it shares sessions by transaction can't be asked; if it
    does, LISTEN, locks and settings of the session belong to nobody, or to whoever comes next.

    Raises:
        psycopg.Error: the database did not answer.
    """
    with driver.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (number,) = cursor.fetchone()
    return bool(number == driver.info.backend_pid)
