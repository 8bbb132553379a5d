"""Statements past the cursors of Django and psycopg, for what every write and every event pays.

A cursor costs more than the statement: for an INSERT of six values psycopg makes six adapters and a text, and Django
wraps each step, together 0.15 ms beside PostgreSQL's own 0.05. Here text goes as text, and what has to come before it,
as BEGIN, goes along in the same round trip.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final

from psycopg import Connection, OperationalError, errors, generators, pq

from bandstand.postgresql.prepared import forget_prepared, give_up_preparing, is_of_another_session, prepared

__all__ = ["commit", "converse", "in_transaction", "is_idle", "is_ready", "raise_error_of", "run_command"]

_DONE: Final = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}

Results = list[pq.abc.PGresult]


def in_transaction(connection: Connection[Any]) -> bool:
    """Whether a transaction is open that has not failed, and nothing else is under way."""
    server = connection.pgconn
    return server.transaction_status == pq.TransactionStatus.INTRANS and server.pipeline_status == pq.PipelineStatus.OFF


def is_idle(connection: Connection[Any]) -> bool:
    """Whether no transaction is open, and nothing is under way."""
    server = connection.pgconn
    return server.transaction_status == pq.TransactionStatus.IDLE and server.pipeline_status == pq.PipelineStatus.OFF


def is_ready(connection: Connection[Any]) -> bool:
    """Whether the same holds, or a transaction like any other can be begun."""
    if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
        return in_transaction(connection)
    return connection.isolation_level is None and connection.read_only is None and connection.deferrable is None


def run_command(
    connection: Connection[Any], statement: str, parameters: Sequence[str], *, before: str = "", prepare: bool = False
) -> int:
    """Run a statement, with ``parameters`` instead of each ``%s``, in a transaction that is begun if need be; return
    how many rows it touched. ``parameters`` are text without NUL, ``before`` are statements that come first.
    ``prepare`` is for a statement that comes often, has no other ``%``, and takes each parameter as a ``varchar``.

    Raises:
        psycopg.OperationalError: also when it was prepared, and the session is another's: once in a process.
        psycopg.Error: it failed.
    """
    escape = pq.Escaping(connection.pgconn).escape_literal
    literals = [bytes(escape(each.encode())).decode() for each in parameters]
    text = prepared(connection, statement, literals) if prepare else statement % tuple(literals)
    with connection.lock:
        results = connection.wait(converse(connection, f"{before}{text}".encode()))
    try:
        for result in results:
            raise_error_of(connection, result)
    except errors.Error as error:
        forget_prepared(connection)
        if prepare and is_of_another_session(error):
            give_up_preparing()
            raise OperationalError(f"The session belongs to others too: {error}") from error
        raise
    return results[-1].command_tuples or 0


def commit(
    connection: Connection[Any], *, before: Sequence[bytes], what: str, limit: Sequence[bytes], follower: str
) -> str:
    """Run the statements ``before``, those of the ``limit``, COMMIT, and ``follower`` if it is not empty, in one round
    trip.

    Return what went wrong with the follower: empty if nothing did. The error of one before begins with ``what``.

    Raises:
        psycopg.Error: one before the follower failed, so those behind it were not run.
    """
    with connection.lock:
        own = len(before) + (not in_transaction(connection))  # what comes before the application's
        place = own + len(limit)  # of the COMMIT
        statements = [*before, *limit, b"COMMIT", *([follower.encode()] if follower else [])]
        results = connection.wait(converse(connection, b";".join(statements)))
    for number, result in enumerate(results[: place + 1]):
        raise_error_of(connection, result, what if number < own else "")
    return next((other.get_error_message() for other in results if other.status not in _DONE), "")


def converse(connection: Connection[Any], statements: bytes) -> Generator[Any, Any, Results]:
    """Send ``statements``, with BEGIN if need be, and return their results: for ``connection.wait``, under its lock.

    It looks and sends only when it is waited for, so whatever has to go first is gone by then.
    """
    begin = b"" if in_transaction(connection) else b"BEGIN;"
    connection.pgconn.send_query(begin + statements)
    results: Results = yield from generators.execute(connection.pgconn)
    return results


def raise_error_of(connection: Connection[Any], result: "pq.abc.PGresult", what: str = "") -> None:
    """Raise psycopg's error of a failed result; it begins with ``what`` was done, if that is not seen otherwise."""
    if result.status not in _DONE:
        error = errors.error_from_result(result, encoding=connection.info.encoding)
        if what:
            error.args = (f"{what}: {error}",)
        raise error
