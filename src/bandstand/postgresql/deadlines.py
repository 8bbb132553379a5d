"""The deadline of the bound context, told to PostgreSQL together with each statement.

``SET LOCAL statement_timeout`` goes along in the message of the statement itself, so it costs no round trip. It ends
with the transaction, or without one with the message, so no connection goes back to the pool with a limit on it. A wait
for a lock is a part of its statement: PostgreSQL's manual advises against a ``lock_timeout`` of the same length.
"""

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.db import OperationalError
from psycopg import ClientCursor, errors

from bandstand.context import Context, bound
from bandstand.exceptions import DeadlineExceeded

if TYPE_CHECKING:
    from bandstand.postgresql.base import DatabaseWrapper

__all__ = ["explained", "keep_deadline", "limit_last", "limit_statement"]

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]

# What may run long. Everything else must work after the deadline too (ROLLBACK TO SAVEPOINT), or can't stand in one
# message with another statement (VACUUM, CREATE INDEX CONCURRENTLY).
_BOUNDED: Final = re.compile(r"[\s(]*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES|LOCK|EXPLAIN)\b", re.IGNORECASE)
_LIMIT: Final = "SET LOCAL statement_timeout = %s;"
_GRACE: Final = 100  # milliseconds that the last statement of a finished work has at least
_ENDED: Final = "The time for this request ended while the database worked."
_NO_LIMIT: Final = "SET LOCAL statement_timeout TO DEFAULT;"


def keep_deadline(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute ``sql`` within the time that is left: one of Django's execute wrappers.

    Raises:
        DeadlineExceeded: no time is left, so nothing was sent; or it ended while the statement ran.
    """
    now = bound()
    connection: DatabaseWrapper = context["connection"]
    if now is None or now.deadline is None:
        if not connection.limited:
            return execute(sql, params, many, context)
        return _without_limit(execute, sql, params, many, context)
    if not isinstance(sql, str) or _BOUNDED.match(sql) is None:
        return execute(sql, params, many, context)
    milliseconds = math.ceil((now.remaining() or 0.0) * 1000)
    if milliseconds <= 0:
        raise DeadlineExceeded("No time is left for this request, so the database was not asked.")
    connection.limited = connection.in_atomic_block
    cursor = context["cursor"].cursor
    limit = _LIMIT.replace("%s", str(milliseconds))
    try:
        if many or not isinstance(cursor, ClientCursor):
            # Bound by the server or read through a cursor of the server: nothing can go along in their messages.
            if connection.limited:
                cursor.connection.execute(limit)
            return execute(sql, params, many, context)
        if params is None or isinstance(params, dict):
            execute(limit + sql, params, many, context)
        else:  # as a parameter, so that the driver finds the text in its cache
            execute(_LIMIT + sql, (milliseconds, *params), many, context)
        cursor.nextset()
    except OperationalError as error:
        if _ran_out(error, now):
            raise DeadlineExceeded(_ENDED) from error
        raise
    return None


def limit_statement(connection: "DatabaseWrapper") -> str | None:
    """Return what to send before a statement in an ``atomic`` block that no cursor executes: nothing, or its limit.

    None means that it must not go out so, because no time is left or another limit has to be taken off first.
    """
    now = bound()
    if now is None or now.deadline is None:
        return None if connection.limited else ""
    milliseconds = math.ceil((now.remaining() or 0.0) * 1000)
    if milliseconds <= 0:
        return None
    connection.limited = True
    return _LIMIT.replace("%s", str(milliseconds))


def limit_last(connection: "DatabaseWrapper") -> str:
    """Return the same for what was promised while there was time and goes out with the end of the transaction.

    When the deadline has passed meanwhile it still has a tenth of a second: all the work is done by then.
    """
    now = bound()
    if now is None or now.deadline is None:
        limit = _NO_LIMIT if connection.limited else ""
        connection.limited = False
        return limit
    connection.limited = True
    return _LIMIT.replace("%s", str(max(_GRACE, math.ceil((now.remaining() or 0.0) * 1000))))


def explained(error: OperationalError) -> Exception:
    """Return ``DeadlineExceeded`` if that is why a statement failed that went out with a limit, else ``error``."""
    now = bound()
    return DeadlineExceeded(_ENDED) if now is not None and _ran_out(error, now) else error


def _without_limit(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """The rest of a transaction that was limited goes on after its deadline was taken away."""
    connection: DatabaseWrapper = context["connection"]
    if connection.in_atomic_block and isinstance(sql, str) and _BOUNDED.match(sql):
        context["cursor"].cursor.connection.execute(_NO_LIMIT)
        connection.limited = False
    return execute(sql, params, many, context)


def _ran_out(error: OperationalError, now: Context) -> bool:
    """Others cancel statements too: an administrator, or a limit in the database's own settings."""
    return isinstance(error.__cause__, errors.QueryCanceled) and now.expired()
