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
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from django.db import OperationalError
from psycopg import ClientCursor, errors
from psycopg.pq import TransactionStatus

from bandstand.context import Context, bound
from bandstand.exceptions import DeadlineExceeded
from bandstand.postgresql.waiting import answered_within

if TYPE_CHECKING:
    from bandstand.postgresql.base import DatabaseWrapper

__all__ = [
    "explained",
    "has_time",
    "keep_deadline",
    "limit_commit",
    "limit_last",
    "limit_statement",
    "until_deadline",
]

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]

# What may run long. Everything else must work after the deadline too (ROLLBACK TO SAVEPOINT), or can't stand in one
# message with another statement (VACUUM, CREATE INDEX CONCURRENTLY).
_BOUNDED: Final = re.compile(r"[\s(]*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|VALUES|LOCK|EXPLAIN)\b", re.IGNORECASE)
_TOLERANCE: Final = 64
_LIMIT: Final = "SET LOCAL statement_timeout = %s;"
_GRACE: Final = 100  # milliseconds that the last statement of a finished work has at least
_ENDED: Final = "The time for this request ended while the database worked."
_CHECK: Final = b"SET CONSTRAINTS ALL IMMEDIATE"
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
        if _ran_out(error, now):
            raise DeadlineExceeded(_ENDED) from error
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


def has_time(connection: "DatabaseWrapper") -> bool:
    """Whether a statement in an ``atomic`` block may go out that no cursor executes: while time is left, and unless
    another limit has to be taken off first.
    """
    now = bound()
    return not connection.limited if now is None or now.deadline is None else not now.expired()


def until_deadline(driver: Any) -> AbstractContextManager[None]:
    """Wait in the block no longer than the deadline allows, if there is one."""
    milliseconds = _milliseconds()
    return nullcontext() if milliseconds is None else answered_within(driver, milliseconds / 1000)


def limit_statement(connection: "DatabaseWrapper") -> str | None:
    """Return what to send before such a statement: nothing, or its limit; None means that it must not go out."""
    if not has_time(connection):
        return None
    milliseconds = _milliseconds()
    return "" if milliseconds is None or _is_limited(connection, milliseconds) else _new_limit(connection, milliseconds)


def limit_last(connection: "DatabaseWrapper") -> str:
    """Return the same for what was promised while there was time and goes out with the end of the transaction.

    When the deadline has passed meanwhile it still has a tenth of a second: all the work is done by then.
    """
    milliseconds = _milliseconds()
    if milliseconds is not None:
        milliseconds = max(_GRACE, milliseconds)
        return "" if _is_limited(connection, milliseconds) else _new_limit(connection, milliseconds)
    limit = _NO_LIMIT if connection.limited else ""
    connection.limited, connection.limit = False, 0
    return limit


def limit_commit(connection: "DatabaseWrapper") -> list[bytes]:
    """Return what to send before a COMMIT: nothing without a deadline, else what lets it wait for others no longer.

    PostgreSQL ends no COMMIT for its time, and checks there what is deferred, as Django's foreign keys are: each may
    wait for the row that it refers to. So they are checked before it, in a statement that has the limit.
    """
    if _milliseconds() is None:
        return []
    limit = limit_last(connection)
    return [limit.encode(), _CHECK] if limit else [_CHECK]


def explained(error: OperationalError) -> Exception:
    """Return ``DeadlineExceeded`` if that is why a statement failed that went out with a limit, else ``error``."""
    now = bound()
    return DeadlineExceeded(_ENDED) if now is not None and _ran_out(error, now) else error


def _take_limit_off(connection: "DatabaseWrapper", cursor: Any) -> None:
    """The rest of a transaction that was limited goes on after its deadline was taken away."""
    if connection.in_atomic_block:
        cursor.connection.execute(_NO_LIMIT)
        connection.limited, connection.limit = False, 0


def _ran_out(error: OperationalError, now: Context) -> bool:
    """Others cancel statements too: an administrator, or a limit in the database's own settings."""
    return isinstance(error.__cause__, errors.QueryCanceled) and now.expired()
