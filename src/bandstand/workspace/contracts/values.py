"""Values of a schema: what a reader of text or numbers takes, and examples of what a writer may send.

Examples make a verdict one that can be checked: "incompatible" is only said together with a value that the writer may
send and the reader refuses.
"""

import base64
import itertools
import math
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from bandstand.workspace.contracts.shapes import Document, Items, Kinds, Members, Numbers, Schema, Text, text_of

__all__ = ["Examples", "numbers", "refused", "takes_number", "takes_text", "texts"]

_MOST: Final = 8
"""Examples of one schema. They end sooner or later, since so do the combinations."""

_DEEPEST: Final = 12

_FORMATS: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "uuid": (uuid.UUID, tuple(str(uuid.UUID(int=n, version=4)) for n in range(1, _MOST))),
    "date": (date, ("2030-01-02", "2031-01-02", "2032-01-02")),
    "duration": (timedelta, ("PT1S", "P1D", "P1DT2S")),
    "decimal": (Decimal, ("1.50", "0", "-1", "NaN")),
    "time": (Annotated[time, msgspec.Meta(tz=True)], ("03:04:05Z", "03:04:06Z")),
    "partial-time": (Annotated[time, msgspec.Meta(tz=False)], ("03:04:05", "03:04:06")),
    "any-time": (time, ("03:04:05", "03:04:05Z")),
    "date-time": (Annotated[datetime, msgspec.Meta(tz=True)], ("2030-01-02T03:04:05Z", "2030-01-02T03:04:06Z")),
    "partial-date-time": (Annotated[datetime, msgspec.Meta(tz=False)], ("2030-01-02T03:04:05", "2030-01-02T03:04:06")),
    "any-date-time": (datetime, ("2030-01-02T03:04:05", "2030-01-02T03:04:05Z")),
    "base64": (bytes, tuple(base64.b64encode(b"\0" * n).decode() for n in (0, 1, 3, 4, 6))),
}
_TEXTS: Final = ("", "a", "0", "A", "ab", "a0", "1", "2", "3", "-", " ", "é", "1.5", "x" * 64, "abc", "ABC")
_SHAPED: Final = ("a@a", "a-b", "a.b", "a_b", "a/b", "AB", "Aa", "1.2.3", "https://a.b/", "+491234567", "AB-12", "a:b")
"""What patterns often want."""


def takes_text(reader: Text, value: str) -> bool:
    """Say whether msgspec takes ``value``, for lengths and patterns of what is on the wire."""
    if reader.values is not None:
        return value in reader.values
    if len(value) < reader.least or (reader.most is not None and len(value) > reader.most):
        return False
    if reader.pattern is not None and re.search(reader.pattern, value) is None:
        return False
    return reader.format is None or _is_of(reader.format, value)


def _is_of(name: str, value: str) -> bool:
    try:
        msgspec.convert(value, _FORMATS[name][0])
    except msgspec.ValidationError:
        return False
    return True


def texts(writer: Text, near: Text | None = None) -> Iterator[str]:
    """Yield texts that ``writer`` may send, with lengths at which ``near`` would change its mind."""
    if writer.values is not None:
        yield from writer.values
        return
    lengths = {writer.least, writer.most, *((near.least - 1, (near.most or 0) + 1) if near else ())}
    drawn = (
        letter * length for length in sorted(n for n in lengths if n is not None and 0 <= n < 10_000) for letter in "a0"
    )
    written = (value for name, (_, values) in _FORMATS.items() if name != "base64" for value in values)
    chosen = _FORMATS[writer.format][1] if writer.format else itertools.chain(_TEXTS, drawn, _SHAPED, written)
    yield from (value for value in dict.fromkeys(chosen) if takes_text(writer, value))


def takes_number(reader: Numbers, value: float) -> bool:
    """Say whether msgspec takes ``value``; a fraction is never whole, not even 1.0."""
    if reader.whole and isinstance(value, float):
        return False
    if reader.values is not None:
        return value in reader.values
    return (
        (reader.least is None or value >= reader.least)
        and (reader.above is None or value > reader.above)
        and (reader.most is None or value <= reader.most)
        and (reader.below is None or value < reader.below)
        and (reader.multiple is None or math.fmod(value, reader.multiple) == 0)
    )


def numbers(writer: Numbers, near: Numbers | None = None) -> Iterator[float]:
    """Yield numbers that ``writer`` may send, among them those at the edges of it and of ``near``."""
    if writer.values is not None:
        yield from writer.values
        return
    edges = [edge for each in (writer, near) if each for edge in (each.least, each.above, each.most, each.below)]
    places = (0, *(edge for edge in edges if edge is not None))
    steps = (0.0, 1.0, -1.0, 0.5, -0.5, 10.0**6, -(10.0**6))
    multiple = writer.multiple
    seen = (v for place in places for v in (_multiples(place, multiple) if multiple else _around(place, steps)))
    typed = (int(value) if writer.whole else float(value) for value in seen if not writer.whole or value == int(value))
    yield from (value for value in dict.fromkeys(typed) if takes_number(writer, value))


def _around(edge: float, steps: tuple[float, ...]) -> Iterator[float]:
    """Whole edges stay whole numbers of Python, which have no end."""
    exact = (int(step) if step == int(step) else step for step in steps)
    return (edge + step for step in exact)


def _multiples(edge: float, multiple: float) -> Iterator[float]:
    return ((edge // multiple + step) * multiple for step in (0, 1, 2, -1))


class Examples:
    """Values that a writer may send by its schema."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def first(self, schema: Schema, depth: int = 0) -> list[Any]:
        """Return the simplest value in a list, or an empty one if none is found."""
        return list(itertools.islice(self.of(schema, depth), 1))

    def of(self, schema: Schema, depth: int = 0) -> Iterator[Any]:
        """Yield a few values, the simplest first."""
        if depth > _DEEPEST:
            return iter(())
        return itertools.islice(self._all(self._document.kinds(schema), depth), _MOST)

    def _all(self, kinds: Kinds, depth: int) -> Iterator[Any]:
        if kinds.null:
            yield None
        if kinds.boolean:
            yield from (True, False)
        if kinds.text:
            yield from texts(kinds.text)
        for each in (kinds.whole, kinds.number):
            if each:
                yield from numbers(each)
        if kinds.array:
            yield from self.arrays(kinds.array, kinds.array.least, depth)
        for members in kinds.objects:
            yield from self.objects(members, depth=depth)

    def arrays(self, items: Items, length: int, depth: int = 0) -> Iterator[list[Any]]:
        """Yield arrays of ``length``."""
        found: list[Any] = []
        for index in range(length):
            schema = items.at(index)
            choices: Iterator[Any] = iter(()) if schema is None else self.of(schema, depth + 1)
            fitting = [value for value in choices if not items.unique or value not in found][:1]
            if not fitting:
                return
            found += fitting
        yield found

    def objects(
        self, members: Members, *, count: int | None = None, without: str | None = None, depth: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Yield objects with what they must have, or with ``count`` fields if that is more; ``without`` a field."""
        least = max(members.least, count or 0)
        value: dict[str, Any] = {}
        for name in members.required:
            if not (found := self.first(members.fields.get(name, {}), depth + 1)):
                return
            value[name] = found[0]
        for name, schema in self._more(members):
            if len(value) >= least:
                break
            if name not in value and name != without and (found := self.first(schema, depth + 1)):
                value[name] = found[0]
        if len(value) >= least and (without is None or without not in value):
            yield value

    def _more(self, members: Members) -> Iterator[tuple[str, Schema]]:
        yield from members.fields.items()
        if members.rest is not None:
            yield from ((name, members.rest) for name in self.names(members))

    def names(self, members: Members) -> Iterator[str]:
        """Yield names that fields may have besides those that are named."""
        text = Text() if members.names is None else text_of(self._document.resolve(members.names))
        made = (f"key{n}" for n in range(_MOST)) if members.names is None else texts(text)
        return (name for name in made if name not in members.fields)


def refused(values: Iterator[Any], takes: Callable[[Any], bool]) -> list[Any]:
    """Return the first of ``values`` that is not taken, in a list, or an empty one."""
    return list(itertools.islice((value for value in values if not takes(value)), 1))
