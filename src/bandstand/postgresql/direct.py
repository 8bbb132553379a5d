"""Statements past the cursors of Django and psycopg, for what every write and every event pays.

A cursor costs more than the statement: for an INSERT of six values psycopg makes six adapters and a text, and Django
wraps each step, together 0.15 ms beside PostgreSQL's own 0.05. Here text goes as text, and what has to come before it,
as BEGIN, goes along in the same round trip.
"""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import Connection, errors, generators, pq

__all__ = ["in_transaction", "is_ready", "run_command", "run_together"]

_DONE: Final = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}


def in_transaction(connection: Connection[Any]) -> bool:
    """Whether a transaction is open that has not failed, and nothing else is under way."""
    server = connection.pgconn
    return server.transaction_status == pq.TransactionStatus.INTRANS and server.pipeline_status == pq.PipelineStatus.OFF


def is_ready(connection: Connection[Any]) -> bool:
    """Whether the same holds, or a transaction like any other can be begun."""
    if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
        return in_transaction(connection)
    return connection.isolation_level is None and connection.read_only is None and connection.deferrable is None


def run_command(connection: Connection[Any], statement: str, parameters: Sequence[str], *, before: str = "") -> int:
    """Run a statement, with ``parameters`` instead of each ``%s``, in a transaction that is begun if need be; return
    how many rows it touched. ``parameters`` are text without NUL, ``before`` are statements that come first.

    Raises:
        psycopg.Error: it failed.
    """
    begin = "" if in_transaction(connection) else "BEGIN;"
    escape = pq.Escaping(connection.pgconn).escape_literal
    literals = [bytes(escape(each.encode())).decode() for each in parameters]
    results = _results(connection, f"{begin}{before}{statement % tuple(literals)}".encode())
    for result in results:
        _raise_error_of(connection, result)
    return results[-1].command_tuples or 0


def run_together(connection: Connection[Any], statement: str, follower: str) -> str:
    """Run two statements in one round trip, and return what went wrong with the second: empty if nothing did.

    Raises:
        psycopg.Error: the first failed, so the second was not run.
    """
    first, *others = _results(connection, f"{statement};{follower}".encode())
    _raise_error_of(connection, first)
    return next((other.get_error_message() for other in others if other.status not in _DONE), "")


def _results(connection: Connection[Any], statements: bytes) -> "list[pq.abc.PGresult]":
    with connection.lock:
        connection.pgconn.send_query(statements)
        return connection.wait(generators.execute(connection.pgconn))


def _raise_error_of(connection: Connection[Any], result: "pq.abc.PGresult") -> None:
    if result.status not in _DONE:
        raise errors.error_from_result(result, encoding=connection.info.encoding)
