"""Queries that lie in ``.sql`` files, each with its name and what it is for."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["queries"]

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, str]:
    """Return the queries of ``sql/<file>.sql`` by name, without their comments."""
    _, *parts = _NAME.split(files("bandstand.events").joinpath("sql", f"{file}.sql").read_text())
    return {name: _bare(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _bare(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
