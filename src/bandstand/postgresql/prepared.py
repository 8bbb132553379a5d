"""Statements that the server reads and plans once in each session: for the INSERT of the inbox, that is half of it.

They are prepared in SQL, so that they can go along with others in one message, and live as long as the session,
whatever becomes of the transaction.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

from psycopg import Connection

__all__ = ["forget_prepared", "prepared"]

_names: "Final[WeakKeyDictionary[Connection[Any], dict[str, str]]]" = WeakKeyDictionary()
_numbers: Final = count(1)


def prepared(connection: Connection[Any], statement: str, literals: Sequence[str]) -> str:
    """Return what executes ``statement``, with ``literals`` instead of each ``%s``, prepared before if need be."""
    names = _names.setdefault(connection, {})
    arguments = ", ".join(literals)
    if known := names.get(statement):
        return f"EXECUTE {known}({arguments})"
    names[statement] = name = f"bandstand_{next(_numbers)}"
    types = ", ".join(["varchar"] * len(literals))
    places = tuple(f"${number}" for number in range(1, len(literals) + 1))
    return f"PREPARE {name}({types}) AS {statement % places};EXECUTE {name}({arguments})"


def forget_prepared(connection: Connection[Any]) -> None:
    """Prepare anew what comes next, under other names: something failed, perhaps before or because it was not there."""
    _names.pop(connection, None)
