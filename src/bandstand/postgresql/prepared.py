"""Statements that the server reads and plans once in each session: for the INSERT of the inbox, that is half of it.

They are prepared in SQL, so that they can go along with others in one message, and live as long as the session,
whatever becomes of the transaction. That the session is the connection's own can't be asked: a pooler that shares
sessions by transaction shows only by what is missing, or there already. Then nothing is prepared any more.
"""

import hashlib
import logging
from collections.abc import Sequence
from threading import Event
from typing import Any, Final
from weakref import WeakKeyDictionary

from psycopg import Connection, errors

__all__ = ["forget_prepared", "give_up_preparing", "is_of_another_session", "prepared"]

logger: Final = logging.getLogger(__name__)

_names: "Final[WeakKeyDictionary[Connection[Any], dict[str, str]]]" = WeakKeyDictionary()
_turns: "Final[WeakKeyDictionary[Connection[Any], int]]" = WeakKeyDictionary()
_shared: Final = Event()


def prepared(connection: Connection[Any], statement: str, literals: Sequence[str]) -> str:
    """Return what executes ``statement``, with ``literals`` instead of each ``%s``, prepared before if need be."""
    if _shared.is_set():
        return statement % tuple(literals)
    names = _names.setdefault(connection, {})
    arguments = ", ".join(literals)
    if known := names.get(statement):
        return f"EXECUTE {known}({arguments})"
    names[statement] = name = _name(statement, _turns.get(connection, 0))
    types = ", ".join(["varchar"] * len(literals))
    places = tuple(f"${number}" for number in range(1, len(literals) + 1))
    return f"PREPARE {name}({types}) AS {statement % places};EXECUTE {name}({arguments})"


def forget_prepared(connection: Connection[Any]) -> None:
    """Prepare anew what comes next, under other names: something failed, perhaps before or because it was not there."""
    _names.pop(connection, None)
    _turns[connection] = _turns.get(connection, 0) + 1


def is_of_another_session(error: errors.Error) -> bool:
    """Whether ``error`` says that the session knows not what this connection prepared, or what it did not."""
    return isinstance(error, errors.InvalidSqlStatementName | errors.DuplicatePreparedStatement)


def give_up_preparing() -> None:
    """Stop preparing statements in this process, and log that once."""
    if not _shared.is_set():
        _shared.set()
        logger.warning(
            "PostgreSQL's sessions are shared, as by PgBouncer with pool_mode = transaction (or somebody used DISCARD "
            "or DEALLOCATE), so nothing is prepared in them from now on."
        )


def _name(statement: str, turn: int) -> str:
    """Of the statement itself: whoever else prepares under this name in a session that is shared prepares the same."""
    return f"bandstand_{hashlib.sha256(statement.encode()).hexdigest()[:16]}_{turn}"
