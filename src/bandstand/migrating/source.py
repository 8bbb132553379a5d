"""The file of a migration: where each operation stands, and what somebody accepted there.

A finding is accepted by a comment on the operation's lines, or on those just above it::

    # bandstand: accept removed_column because no release since 2.3 reads it
    migrations.RemoveField("user", "nickname"),
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

__all__ = ["Acceptance", "Place", "places"]

_ACCEPT: Final = re.compile(r"#\s*bandstand:\s*accept\s+(?P<code>[a-z_]+)(?:\s+because\s+(?P<reason>\S.*?))?\s*$")


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A comment that accepts a finding; without a reason it accepts nothing."""

    code: str
    line: int
    reason: str | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where an operation begins, and the comments that belong to it."""

    line: int
    accepted: tuple[Acceptance, ...] = ()


def places(file: Path, count: int) -> list[Place]:
    """Return the place of each of ``count`` operations; that of the file where they are no plain list."""
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    elements = _elements(ast.parse(source))
    if len(elements) != count:
        everywhere = tuple(_acceptances(lines, 1, len(lines)))
        return [Place(line=1, accepted=everywhere) for _ in range(count)]
    return [_place(element, lines) for element in elements]


def _elements(tree: ast.Module) -> list[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "Migration":
            for statement in node.body:
                if isinstance(value := _value_of_operations(statement), ast.List):
                    return value.elts
    return []


def _value_of_operations(statement: ast.stmt) -> ast.expr | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id="operations")], value=value):
            return value
        case ast.AnnAssign(target=ast.Name(id="operations"), value=value):
            return value
    return None


def _place(element: ast.expr, lines: list[str]) -> Place:
    first = element.lineno
    while first > 1 and lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return Place(line=element.lineno, accepted=tuple(_acceptances(lines, first, element.end_lineno or element.lineno)))


def _acceptances(lines: list[str], first: int, last: int) -> Iterator[Acceptance]:
    for number in range(first, last + 1):
        if found := _ACCEPT.search(lines[number - 1]):
            yield Acceptance(code=found["code"], line=number, reason=found["reason"])
