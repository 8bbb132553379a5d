"""Queries that lie in ``.sql`` files, each with its name and what it is for; and the shortest ways to run one."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

__all__ = ["queries", "run_direct", "write_later"]

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, str]:
    """Return the queries of ``sql/<file>.sql`` by name, without their comments."""
    _, *parts = _NAME.split(files("bandstand.events").joinpath("sql", f"{file}.sql").read_text())
    return {name: _bare(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def run_direct(connection: Any, statement: str, parameters: Sequence[str], *, prepare: bool = False) -> int | None:
    """Return what ``bandstand.postgresql`` returns of the same name: None if a cursor has to be used, as elsewhere."""
    shortest = getattr(connection, "run_direct", None)
    rows: int | None = None if shortest is None else shortest(statement, parameters, prepare=prepare)
    return rows


def write_later(connection: Any, insert: str, row: str, values: Sequence[str], *, what: str) -> bool:
    """Return what ``bandstand.postgresql`` returns of the same name: False if a cursor has to be used, as elsewhere."""
    later = getattr(connection, "write_later", None)
    return later is not None and bool(later(insert, row, values, what=what))


def _bare(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
