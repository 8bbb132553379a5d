"""The session of PostgreSQL behind a connection: its own, or one that a pooler shares."""

import re
from collections.abc import Callable
from contextlib import closing
from enum import Enum
from typing import Any, Final

__all__ = ["PoolMode", "connect_outside_pool", "is_own_session", "note_change", "pool_mode"]

_ROUNDS: Final = 10
# Statements that leave something in the session, and functions that do in any statement.
_STATEMENT: Final = re.compile(
    r"""\s*(?:SET\s+(?!LOCAL\b|CONSTRAINTS\b|TRANSACTION\b)|LISTEN\b|LOAD\b|PREPARE\s+(?!TRANSACTION)
        |CREATE\s+(?:(?:LOCAL|GLOBAL)\s+)?TEMP|DECLARE\b.*\bWITH\s+HOLD\b)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_FUNCTION: Final = re.compile(r"\bpg_(?:try_)?advisory_lock|\bset_config\s*\((?![^()]*,\s*true\s*\))")


class PoolMode(Enum):
    """The ``pool_mode`` of a pooler such as PgBouncer: how it shares the sessions of PostgreSQL."""

    NONE = "none"
    """PostgreSQL itself answers."""
    SESSION = "session"
    """A session is a client's until the client leaves."""
    TRANSACTION = "transaction"
    """A session is a client's for one transaction, or for one statement. What is kept in a session (``LISTEN``,
    ``SET``, advisory locks) belongs to nobody, or to whoever comes next.
    """


def is_own_session(driver: Any) -> bool:
    """Return whether PostgreSQL itself answers on ``driver``, a connection of psycopg; one round trip.

    A pooler gives the session a number of its own.

    Raises:
        psycopg.Error: the database did not answer.
    """
    return bool(_session(driver) == driver.info.backend_pid)


def pool_mode(connect: Callable[[], Any]) -> PoolMode:
    """Return how the sessions that ``connect`` opens are shared; it must return connections in autocommit mode.

    A pooler can't be asked, so this watches: in transaction mode a client's session changes, or another client has it
    meanwhile. Takes up to two connections and some forty round trips, two where there is no pooler.

    Raises:
        psycopg.Error: the database did not answer.
    """
    with closing(connect()) as idle:
        session = _session(idle)
        if session == idle.info.backend_pid:
            return PoolMode.NONE
        with closing(connect()) as busy:
            for number in range(_ROUNDS):
                for _ in range(number % 3):  # else a pooler that takes turns could hand out the same two each time
                    _session(busy)
                with busy.transaction():
                    if _session(busy) == session or _session(idle) != session:
                        return PoolMode.TRANSACTION
    return PoolMode.SESSION


def note_change(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute ``sql``, and note if the session must not be given to another thread: one of Django's execute wrappers.

    Statements through psycopg itself, and those that functions run inside the database, pass unnoticed.
    """
    if _changes_session(_text(sql)):
        context["connection"].changed_session = True
    return execute(sql, params, many, context)


def _text(sql: Any) -> str:
    """Return a statement in any form that psycopg takes as text."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")  # for a look at its keywords alone
    return sql if isinstance(sql, str) else str(sql.as_string())


def _changes_session(sql: str) -> bool:
    if _STATEMENT.match(sql):
        return True
    lowered = sql.lower()
    return ("advisory_lock" in lowered or "set_config" in lowered) and _FUNCTION.search(lowered) is not None


def connect_outside_pool(wrapper: Any) -> Any:
    """Return a new connection of psycopg, in autocommit mode, to the database of Django's ``wrapper``."""
    return wrapper.Database.connect(**{**wrapper.get_connection_params(), "autocommit": True})


def _session(driver: Any) -> int:
    with driver.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (number,) = cursor.fetchone()
    return int(number)
