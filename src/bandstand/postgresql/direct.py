"""Statements past the cursors of Django and psycopg, for what every write pays.

A cursor costs more than the statement: for an INSERT of six values psycopg makes six adapters and a text, and Django
wraps each step, together 0.15 ms beside PostgreSQL's own 0.05. Here text goes as text, by libpq's extended protocol.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import Connection, errors, generators, pq

__all__ = ["in_transaction", "run_command", "run_together"]

_DONE: Final = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}


def in_transaction(connection: Connection[Any]) -> bool:
    """Whether a transaction is open that has not failed, so that a statement can be sent as it is."""
    server = connection.pgconn
    return server.transaction_status == pq.TransactionStatus.INTRANS and server.pipeline_status == pq.PipelineStatus.OFF


def run_command(connection: Connection[Any], statement: bytes, parameters: Sequence[bytes]) -> None:
    """Run a statement with ``$1``, ``$2``… for ``parameters``, which are text without NUL.

    Raises:
        psycopg.Error: it failed.
    """
    results = _results(connection, lambda server: server.send_query_params(statement, parameters))
    for result in results:
        _raise_error_of(connection, result)


def run_together(connection: Connection[Any], statement: bytes, follower: bytes) -> str:
    """Run two statements in one round trip, and return what went wrong with the second: empty if nothing did.

    Raises:
        psycopg.Error: the first failed, so the second was not run.
    """
    first, *others = _results(connection, lambda server: server.send_query(statement + b"; " + follower))
    _raise_error_of(connection, first)
    return next((other.get_error_message() for other in others if other.status not in _DONE), "")


def _results(connection: Connection[Any], send: Callable[[pq.abc.PGconn], None]) -> "list[pq.abc.PGresult]":
    with connection.lock:
        send(connection.pgconn)
        return connection.wait(generators.execute(connection.pgconn))


def _raise_error_of(connection: Connection[Any], result: "pq.abc.PGresult") -> None:
    if result.status not in _DONE:
        raise errors.error_from_result(result, encoding=connection.info.encoding)
