"""On which line of a TOML file each value stands.

The standard library's parser gives values without positions, and the TOML libraries that keep a document's style do
not give line numbers either. So this walks the source a second time, after the parser has found it valid, and only
as far as positions need: headers, keys, and where a value ends.
"""

import re
import tomllib
from bisect import bisect_right
from typing import Final, TypeAlias

__all__ = ["Positions", "Steps"]

Steps: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys of tables and indexes of arrays, as in ``("services", "a", "routes", 0, "path")``."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]*")
# In the order in which they must be tried. Up to two quotes may stand directly before the closing three.
_STRINGS: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}',
        r"'''(?:[^']|'{1,2}(?!'))*'{3,5}",
        r'"(?:[^"\\]|\\.)*"',
        r"'[^']*'",
    )
)


class Positions:
    """The lines of a TOML source that the parser accepted."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts = [0, *(match.end() for match in re.finditer("\n", source))]
        self._at = 0
        self._lines: dict[Steps, int] = {}
        self._lengths: dict[Steps, int] = {}
        self._walk()

    def line(self, steps: Steps) -> int:
        """Return the line, counted from 1, of a value or, where it is not written, of the nearest table around it."""
        while steps and steps not in self._lines:
            steps = steps[:-1]
        return self._lines.get(steps, 1)

    def _walk(self) -> None:
        table: Steps = ()
        self._blank()
        while self._at < len(self._source):
            if self._taken("[["):
                table = self._element(self._key())
                self._at += len("]]")
            elif self._taken("["):
                table = self._table(self._key())
                self._at += len("]")
            else:
                self._pair(table)
            self._blank()

    def _element(self, key: Steps) -> Steps:
        """Enter the next element of an array of tables."""
        array = (*self._table(key[:-1]), key[-1])
        index = self._lengths.get(array, 0)
        self._lengths[array] = index + 1
        self._note(array, first=True)
        return self._note((*array, index))

    def _table(self, key: Steps) -> Steps:
        """Enter a table; a name in its header that is an array of tables means that array's last element."""
        steps: Steps = ()
        for part in key:
            steps = self._note((*steps, part), first=True)
            if steps in self._lengths:
                steps = (*steps, self._lengths[steps] - 1)
        return self._note(steps) if key else steps

    def _pair(self, table: Steps) -> None:
        steps = table
        for part in self._key():
            steps = self._note((*steps, part), first=True)
        self._blank()
        self._at += len("=")
        self._value(steps)

    def _value(self, steps: Steps) -> None:
        self._blank()
        if self._taken("["):
            self._array(steps)
        elif self._taken("{"):
            self._inline_table(steps)
        else:
            self._scalar()

    def _array(self, steps: Steps) -> None:
        index = 0
        while not self._closed("]"):
            self._value(self._note((*steps, index)))
            index += 1

    def _inline_table(self, steps: Steps) -> None:
        while not self._closed("}"):
            self._pair(steps)

    def _closed(self, bracket: str) -> bool:
        """Pass what may stand between elements; tell whether the closing bracket came."""
        self._blank()
        if self._taken(","):
            self._blank()
        return self._taken(bracket) or self._at >= len(self._source)

    def _scalar(self) -> None:
        for pattern in (*_STRINGS, _SCALAR):
            if found := pattern.match(self._source, self._at):
                self._at = found.end()
                return

    def _key(self) -> Steps:
        self._blank()
        parts = [self._key_part()]
        while dot := _DOT.match(self._source, self._at):
            self._at = dot.end()
            parts.append(self._key_part())
        self._blank()
        return tuple(parts)

    def _key_part(self) -> str:
        start = self._at
        if bare := _BARE_KEY.match(self._source, self._at):
            self._at = bare.end()
            return bare.group()
        self._scalar()
        return next(iter(tomllib.loads(f"{self._source[start : self._at]} = 0")))

    def _note(self, steps: Steps, *, first: bool = False) -> Steps:
        """Remember the present line for ``steps``; with ``first`` only where none is remembered yet."""
        if not (first and steps in self._lines):
            self._lines[steps] = bisect_right(self._starts, self._at)
        return steps

    def _blank(self) -> None:
        found = _BLANK.match(self._source, self._at)
        self._at = found.end() if found else self._at

    def _taken(self, text: str) -> bool:
        if not self._source.startswith(text, self._at):
            return False
        self._at += len(text)
        return True
