"""Can a reader take everything that a writer may send?

A subschema check for the part of JSON Schema that events use, by structural induction as in Habib et al., "Finding
Data Compatibility Bugs with JSON Subschema Checking" (ISSTA 2021). Three verdicts: no difference is a proof; an
"incompatible" one comes with a value as proof; "undecided" is said where neither is found (two different patterns).
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from bandstand.workspace.contracts.shapes import (
    ANYTHING,
    Document,
    Items,
    Kinds,
    Members,
    Numbers,
    Schema,
    Text,
    Undecidable,
    text_of,
)
from bandstand.workspace.contracts.values import Examples, numbers, refused, takes_number, takes_text, texts
from bandstand.workspace.contracts.words import words_for

__all__ = ["Difference", "compare"]

Found = list[Any]
"""A value in a list, or an empty list: None is a value too."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where a reader can't take what a writer sends.

    ``path`` leads there (``items[].quantity``, empty for the event itself). ``why`` is ``missing`` (the writer has no
    such field), ``optional`` (it may leave it out), ``unknown`` (the reader refuses fields that it does not know) or
    ``value``. ``sent`` and ``taken`` say in words what stands against each other. ``example`` holds one event that the
    writer may send and the reader refuses; it is empty where the difference is not ``decided``, or where no value is
    found for some other field, whose pattern is too special.
    """

    path: str
    why: Literal["missing", "optional", "unknown", "value"]
    sent: str
    taken: str
    decided: bool = True
    example: tuple[Any, ...] = ()

    @property
    def verdict(self) -> Literal["incompatible", "undecided"]:
        return "incompatible" if self.decided else "undecided"


def compare(written: Schema, read: Schema, *, lenient: bool = True) -> tuple[Difference, ...]:
    """Return where a reader by the schema ``read`` can't take what a writer by ``written`` may send.

    ``lenient`` readers decode with msgspec, so they take a JSON number where a decimal is expected.
    """
    if written == read:
        return ()
    comparison = _Comparison(Document(written, writer=True), Document(read, writer=False, lenient=lenient))
    return tuple(comparison.schemas(written, read, ""))


class _Comparison:
    def __init__(self, writer: Document, reader: Document) -> None:
        self._writer = writer
        self._reader = reader
        self._examples = Examples(writer)
        self._open: set[tuple[int, int]] = set()

    def schemas(self, written: Schema, read: Schema, path: str) -> Iterator[Difference]:
        """What is being compared further up is taken as proven there: a recursive type is as good as its parts."""
        try:
            written, read = self._writer.resolve(written), self._reader.resolve(read)
            pair = (id(written), id(read))
            if pair in self._open:
                return
            self._open.add(pair)
            try:
                yield from self._kinds(written, read, path)
            finally:
                self._open.discard(pair)
        except Undecidable as error:
            taken = f"something with {error}"
            yield Difference(path=path, why="value", sent=self._sent(written), taken=taken, decided=False)

    def _kinds(self, written: Schema, read: Schema, path: str) -> Iterator[Difference]:
        sent, taken = self._writer.kinds(written), self._reader.kinds(read)
        if taken.anything:
            return
        refuse = _Refusal(path, self._sent(written), self._taken(read))
        if sent.null and not taken.null:
            yield refuse([None])
        if sent.boolean and not taken.boolean:
            yield refuse([True])
        if sent.text is not None:
            yield from _texts(sent.text, taken.text, refuse)
        if sent.whole is not None:
            yield from _numbers(sent.whole, taken.whole or taken.number, refuse)
        if sent.number is not None:
            yield from _numbers(sent.number, taken.number or taken.whole, refuse)
        if sent.array is not None:
            yield from self._arrays(sent.array, taken.array, refuse)
        for members in sent.objects:
            yield from self._choices(members, taken, refuse)

    def _sent(self, schema: Schema) -> str:
        return words_for(self._writer, schema)

    def _taken(self, schema: Schema) -> str:
        return words_for(self._reader, schema)

    # --- arrays -----------------------------------------------------------------------------------

    def _arrays(self, sent: Items, taken: Items | None, refuse: "_Refusal") -> Iterator[Difference]:
        if taken is None:
            yield refuse(self._array(sent, sent.least), surely=True)
            return
        yield from self._lengths(sent, taken, refuse)
        for index in range(max(len(sent.prefix), len(taken.prefix))):
            if sent.most is None or index < sent.most:
                yield from self._element(sent, taken, index, f"{refuse.path}[{index}]")
        beyond = max(len(sent.prefix), len(taken.prefix))
        if sent.most is None or beyond < sent.most:
            yield from self._element(sent, taken, beyond, f"{refuse.path}[]")

    def _lengths(self, sent: Items, taken: Items, refuse: "_Refusal") -> Iterator[Difference]:
        # A reader of a set counts what is left of equal entries; that there are none is only sure of another set.
        sure = sent.unique or not taken.unique or taken.least <= 1
        if sent.least < taken.least or not sure:
            yield refuse(self._array(sent, sent.least, equal=not sure))
        if taken.most is not None and (sent.most is None or sent.most > taken.most):
            yield refuse([] if taken.unique and not sent.unique else self._array(sent, taken.most + 1))

    def _array(self, items: Items, length: int, *, equal: bool = False) -> Found:
        if not equal or length < 2 or items.prefix:
            return [*self._examples.arrays(items, length)][:1]
        return [[value] * length for value in self._examples.first(items.rest or ANYTHING)]

    def _element(self, sent: Items, taken: Items, index: int, path: str) -> Iterator[Difference]:
        written, read = sent.at(index), taken.at(index)
        if written is None or read is None:
            return  # lengths have been compared

        def within(value: Any) -> Found:
            return [[*some, value, *more] for some, more in self._around(sent, index)]

        yield from _wrapped(self.schemas(written, read, path), within)

    def _around(self, items: Items, index: int) -> Iterator[tuple[list[Any], list[Any]]]:
        for some in self._examples.arrays(items, max(index + 1, items.least)):
            yield some[:index], some[index + 1 :]

    # --- objects ----------------------------------------------------------------------------------

    def _choices(self, sent: Members, taken: Kinds, refuse: "_Refusal") -> Iterator[Difference]:
        """Of several structs the reader chooses by their tag."""
        if len(taken.objects) == 1:
            yield from self._members(sent, taken.objects[0], refuse.path)
            return
        if not taken.objects or taken.tag is None:
            nothing = not taken.objects
            yield refuse(self._object(sent) if nothing else [], surely=nothing)
            return
        tags = self._tags(sent, taken.tag)
        if tags is None:
            yield refuse(self._object(sent, without=taken.tag))
            return
        for tag in tags:
            chosen = next((each for each in taken.objects if tag in _tags(self._reader, each, taken.tag)), None)
            if chosen is not None:
                yield from self._members(sent, chosen, refuse.path)
            else:
                yield refuse([{**value, taken.tag: tag} for value in self._object(sent)])

    def _tags(self, sent: Members, name: str) -> tuple[Any, ...] | None:
        return (_tags(self._writer, sent, name) or None) if name in sent.required else None

    def _object(self, members: Members, *, without: str | None = None, count: int | None = None) -> Found:
        return [*self._examples.objects(members, without=without, count=count)][:1]

    def _members(self, sent: Members, taken: Members, path: str) -> Iterator[Difference]:
        for name in taken.required:
            yield from self._required(sent, taken, name, _joined(path, name))
        for name, read in taken.fields.items():
            written = sent.fields.get(name, sent.rest)
            if written is not None:
                yield from _wrapped(self.schemas(written, read, _joined(path, name)), self._with(sent, name))
        for name, written in sent.fields.items():
            if name not in taken.fields:
                yield from self._unnamed(sent, taken, name, written, path)
        if sent.rest is not None:
            yield from self._rest(sent, taken, path)
        yield from self._counts(sent, taken, path)

    def _required(self, sent: Members, taken: Members, name: str, path: str) -> Iterator[Difference]:
        if name in sent.required:
            return
        yield Difference(
            path=path,
            why="optional" if name in sent.fields else "missing",
            sent=self._sent(sent.fields[name]) if name in sent.fields else "nothing",
            taken=self._taken(taken.fields[name]) if name in taken.fields else "anything",
            example=tuple(self._object(sent, without=name)),
        )

    def _with(self, sent: Members, name: str) -> Callable[[Any], Found]:
        return lambda value: [{**some, name: value} for some in self._object(sent)]

    def _unnamed(self, sent: Members, taken: Members, name: str, written: Schema, path: str) -> Iterator[Difference]:
        """A field that the reader has no name for."""
        inner = _joined(path, name)
        if taken.rest is None:
            example = [value for some in self._examples.first(written) for value in self._with(sent, name)(some)]
            yield Difference(
                path=inner, why="unknown", sent=self._sent(written), taken="no other fields", example=tuple(example)
            )
            return
        yield from _wrapped(self.schemas(written, taken.rest, inner), self._with(sent, name))
        if taken.names is not None and not takes_text(text_of(self._reader.resolve(taken.names)), name):
            example = [value for some in self._examples.first(written) for value in self._with(sent, name)(some)]
            yield Difference(
                path=inner, why="value", sent=f"the key {name!r}", taken="other keys", example=tuple(example)
            )

    def _rest(self, sent: Members, taken: Members, path: str) -> Iterator[Difference]:
        """The values of a dictionary, and its keys."""
        inner, written = f"{path}.*" if path else "*", sent.rest or ANYTHING
        name = next((name for name in self._examples.names(sent) if name not in taken.fields), None)
        if taken.rest is None:
            example = [
                value for some in self._examples.first(written) if name for value in self._with(sent, name)(some)
            ]
            yield Difference(
                path=inner, why="unknown", sent="any keys", taken="no other fields", example=tuple(example)
            )
            return
        named = self._with(sent, name) if name is not None else (lambda _: [])
        yield from _wrapped(self.schemas(written, taken.rest, inner), named)
        if taken.names is not None and taken.names != sent.names:
            yield from self._keys(sent, taken.names, written, inner)

    def _keys(self, sent: Members, names: Schema, written: Schema, path: str) -> Iterator[Difference]:
        writer = Text() if sent.names is None else text_of(self._writer.resolve(sent.names))
        reader = text_of(self._reader.resolve(names))
        refuse = _Refusal(path, "keys that are text", "other keys")
        inner = _wrapped(
            _texts(writer, reader, refuse),
            lambda key: [value for some in self._examples.first(written) for value in self._with(sent, key)(some)],
        )
        found = list(inner)
        yield from found
        if not found and "x-integer" in names:
            yield refuse([])

    def _counts(self, sent: Members, taken: Members, path: str) -> Iterator[Difference]:
        """How many keys a dictionary has; classes are never counted."""
        surely = max(sent.least, len(sent.required))
        perhaps = sent.most if sent.rest is not None else len(sent.fields)
        refuse = _Refusal(path, "an object with more or fewer keys", _count(taken))
        if surely < taken.least:
            yield refuse(self._object(sent))
        if taken.most is not None and (perhaps is None or perhaps > taken.most):
            yield refuse(self._object(sent, count=taken.most + 1))


class _Refusal:
    """Makes differences at one place."""

    def __init__(self, path: str, sent: str, taken: str) -> None:
        self.path = path
        self._sent = sent
        self._taken = taken

    def __call__(self, example: Found, *, surely: bool = False) -> Difference:
        """Without an example nothing is decided, unless the reader ``surely`` takes nothing of the kind."""
        return Difference(
            path=self.path,
            why="value",
            sent=self._sent,
            taken=self._taken,
            decided=surely or bool(example),
            example=tuple(example[:1]),
        )


def _texts(sent: Text, taken: Text | None, refuse: _Refusal) -> Iterator[Difference]:
    if taken is None:
        yield refuse([*texts(sent)], surely=True)
    elif not _text_within(sent, taken):
        yield refuse(refused(texts(sent, taken), lambda value: takes_text(taken, value)))


_LENGTHS = {"uuid": (36, 36), "date": (10, 10)}


def _text_within(sent: Text, taken: Text) -> bool:
    """Say whether ``taken`` surely takes all of ``sent``."""
    if sent.values is not None:
        return all(takes_text(taken, value) for value in sent.values)
    if taken.values is not None or (taken.pattern is not None and taken.pattern != sent.pattern):
        return False
    if taken.format is not None and not _format_within(sent.format, taken.format):
        return False
    least, most = _LENGTHS.get(sent.format or "", (sent.least, sent.most))
    return least >= taken.least and (taken.most is None or (most is not None and most <= taken.most))


def _format_within(sent: str | None, taken: str) -> bool:
    """``any-time`` takes both ``time`` and ``partial-time``."""
    if sent is None or sent == taken:
        return sent == taken
    return taken.startswith("any-") and sent.removeprefix("partial-") == taken.removeprefix("any-")


def _numbers(sent: Numbers, taken: Numbers | None, refuse: _Refusal) -> Iterator[Difference]:
    if taken is None:
        yield refuse([*numbers(sent)], surely=True)
    elif not _number_within(sent, taken):
        yield refuse(refused(numbers(sent, taken), lambda value: takes_number(taken, value)))


def _number_within(sent: Numbers, taken: Numbers) -> bool:
    if sent.values is not None:
        return all(takes_number(taken, value) for value in sent.values)
    if taken.values is not None or (taken.whole and not sent.whole) or not _multiple_within(sent, taken):
        return False
    low = _edge_within((sent.least, sent.above), (taken.least, taken.above), 1)
    return low and _edge_within((sent.most, sent.below), (taken.most, taken.below), -1)


def _edge_within(
    sent: tuple[float | None, float | None], taken: tuple[float | None, float | None], direction: int
) -> bool:
    """Each edge is (the last that is in, the first that is out); ``direction`` is 1 for the lower one."""
    inside, outside = sent
    for index, limit in enumerate(taken):
        if limit is None:
            continue
        enough = outside is not None and (outside - limit) * direction >= 0
        if inside is not None and ((inside - limit) * direction > 0 or (inside == limit and index == 0)):
            enough = True
        if not enough:
            return False
    return True


def _multiple_within(sent: Numbers, taken: Numbers) -> bool:
    if taken.multiple is None or taken.multiple == sent.multiple:
        return True
    return sent.multiple is not None and isinstance(sent.multiple, int) and sent.multiple % taken.multiple == 0


def _wrapped(differences: Iterator[Difference], within: Callable[[Any], Found]) -> Iterator[Difference]:
    """Put each example into an example of what surrounds it."""
    for each in differences:
        example = [value for inner in each.example for value in within(inner)]
        yield msgspec.structs.replace(each, example=tuple(example[:1]))


def _tags(document: Document, members: Members, name: str) -> tuple[Any, ...]:
    if name not in members.fields:
        return ()
    kinds = document.kinds(members.fields[name])
    found = kinds.text or kinds.whole
    return found.values or () if found is not None else ()


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _count(members: Members) -> str:
    least = f"at least {members.least}" if members.least else ""
    most = f"at most {members.most}" if members.most is not None else ""
    return f"an object with {' and '.join(filter(None, (least, most)))} keys"
