"""The deadline of the bound context, told to PostgreSQL together with each statement.

``SET LOCAL statement_timeout`` goes along in the message of the statement itself, so it costs no round trip. It ends
with the transaction, or without one with the message, so no connection goes back to the pool with a limit on it. What
a transaction has set already is left as it is while it is nearly right: a statement may run over by a part in 64 of the
time that is left. A wait for a lock is a part of its statement: PostgreSQL's manual advises against a ``lock_timeout``
of the same length.
"""

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.db import OperationalError
from psycopg import ClientCursor, errors
from psycopg.pq import TransactionStatus

from bandstand.context import bound
from bandstand.exceptions import DeadlineExceeded
from bandstand.postgresql.waiting import answered_within

if TYPE_CHECKING:
    from bandstand.postgresql.base import DatabaseWrapper

__all__ = ["TIME_ENDED", "keep_deadline", "limit_commit", "ran_out"]

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]

# What may run long. Everything else must work after the deadline too (ROLLBACK TO SAVEPOINT), or can't stand in one
# message with another statement (VACUUM, CREATE INDEX CONCURRENTLY).
_BOUNDED: Final = re.compile(r"[\s(]*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES|LOCK|EXPLAIN)\b", re.IGNORECASE)
_TOLERANCE: Final = 64
_LIMIT: Final = "SET LOCAL statement_timeout = %s;"
_GRACE: Final = 100  # milliseconds that the last statement of a finished work has at least
TIME_ENDED: Final = "The time for this request ended while the database worked."
_CHECK: Final = "SET CONSTRAINTS ALL IMMEDIATE"
_NO_LIMIT: Final = "SET LOCAL statement_timeout TO DEFAULT;"


def keep_deadline(execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute ``sql`` within the time that is left: one of Django's execute wrappers.

    Raises:
        DeadlineExceeded: no time is left, so nothing was sent; or it ended while the statement ran.
    """
    now = bound()
    connection: DatabaseWrapper = context["connection"]
    bounded = isinstance(sql, str) and _BOUNDED.match(sql) is not None
    if not bounded:
        connection.limit = 0  # as ROLLBACK TO SAVEPOINT does, or a SET of somebody else
    if now is None or now.deadline is None:
        if bounded and connection.limited:
            _take_limit_off(connection, context["cursor"].cursor)
        return execute(sql, params, many, context)
    if not bounded:
        return execute(sql, params, many, context)
    milliseconds = math.ceil((now.remaining() or 0.0) * 1000)
    if milliseconds <= 0:
        raise DeadlineExceeded("No time is left for this request, so the database was not asked.")
    try:
        with answered_within(context["cursor"].cursor.connection, milliseconds / 1000):
            if _is_limited(connection, milliseconds):
                return execute(sql, params, many, context)
            return _execute_limited(milliseconds, execute, sql, params, many=many, context=context)
    except OperationalError as error:
        if ran_out(error):
            raise DeadlineExceeded(TIME_ENDED) from error
        raise


def _execute_limited(
    milliseconds: int, execute: Execute, sql: str, params: Any, *, many: bool, context: dict[str, Any]
) -> Any:
    connection: DatabaseWrapper = context["connection"]
    cursor = context["cursor"].cursor
    limit = _new_limit(connection, milliseconds)
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
    return None


def _milliseconds() -> int | None:
    """What is left, or None when nobody set a limit."""
    now = bound()
    return None if now is None or now.deadline is None else math.ceil((now.remaining() or 0.0) * 1000)


def _new_limit(connection: "DatabaseWrapper", milliseconds: int) -> str:
    connection.limited = connection.in_atomic_block
    connection.limit = milliseconds if connection.in_atomic_block else 0
    return _LIMIT.replace("%s", str(milliseconds))


def _is_limited(connection: "DatabaseWrapper", milliseconds: int) -> bool:
    """Whether the transaction that is open has this limit, or one that is only little longer."""
    if not 0 <= connection.limit - milliseconds <= milliseconds // _TOLERANCE:
        return False
    driver = connection.connection
    return driver is not None and driver.pgconn.transaction_status == TransactionStatus.INTRANS


def limit_commit(connection: "DatabaseWrapper") -> str:
    """Return the statements to send before a COMMIT, so that it waits for others no longer than the deadline allows.

    PostgreSQL ends no COMMIT for its time, and checks there what is deferred, as Django's foreign keys are: each may
    wait for the row that it refers to. So they are checked before it, in a statement that has the limit. When the
    deadline has passed it still has a tenth of a second: all the work is done by then. Empty without a deadline.
    """
    milliseconds = _milliseconds()
    if milliseconds is None:
        return ""
    milliseconds = max(_GRACE, milliseconds)
    limit = "" if _is_limited(connection, milliseconds) else _new_limit(connection, milliseconds)
    return limit + _CHECK


def ran_out(error: OperationalError) -> bool:
    """Return whether the statement was canceled because the deadline of the bound context has passed.

    Others cancel statements too: an administrator, or a limit in the database's own settings.
    """
    now = bound()
    return now is not None and isinstance(error.__cause__, errors.QueryCanceled) and now.expired()


def _take_limit_off(connection: "DatabaseWrapper", cursor: Any) -> None:
    """The rest of a transaction that was limited goes on after its deadline was taken away."""
    if connection.in_atomic_block:
        cursor.connection.execute(_NO_LIMIT)
        connection.limited, connection.limit = False, 0
