"""Pairs of classes for property tests: what a service publishes, and how another one reads it."""

import string
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import count
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

Values = st.SearchStrategy[Any]


class Kind(NamedTuple):
    """A type with values of it."""

    type: Any
    values: Values


class Pair(NamedTuple):
    """What is published and how it is read: perhaps alike, perhaps not."""

    written: Kind
    read: Any


class Colour(Enum):
    RED = "red"
    BLUE = "blue"
    LONG = "a rather long colour"


class Some(Enum):
    RED = "red"


_serial = count()
_letters = st.text(string.ascii_letters + string.digits + " é😀", max_size=12)


def _bounds(draw: st.DrawFn, low: int, high: int) -> tuple[int | None, int | None]:
    one, other = draw(st.none() | st.integers(low, high)), draw(st.none() | st.integers(low, high))
    return (one, other) if one is None or other is None or one <= other else (other, one)


@st.composite
def _texts(draw: st.DrawFn) -> Kind:
    if draw(st.integers(0, 4)) == 0:
        pattern = draw(st.sampled_from(["^a", "^[a-z]{2,4}$", "0"]))
        return Kind(Annotated[str, Meta(pattern=pattern)], st.from_regex(pattern, alphabet=string.ascii_letters + "0"))
    least, most = _bounds(draw, 0, 6)
    values = st.text(string.ascii_letters + "é😀", min_size=least or 0, max_size=most if most is not None else 9)
    return Kind(
        Annotated[str, Meta(min_length=least, max_length=most)] if (least, most) != (None, None) else str, values
    )


@st.composite
def _whole(draw: st.DrawFn) -> Kind:
    """Ranges of at least 4 numbers, so that there is a multiple in each."""
    low = draw(st.none() | st.integers(-8, 4))
    high = draw(st.none() | st.integers((low or 0) + 4, 12))
    multiple = draw(st.sampled_from([None, None, 2, 3, 4]))
    inside = draw(st.booleans())
    edges = {"ge": low, "le": high} if inside else {"gt": _off(low, -1), "lt": _off(high, 1)}
    factor = multiple or 1
    values = st.integers(None if low is None else -(-low // factor), None if high is None else high // factor)
    return Kind(Annotated[int, Meta(multiple_of=multiple, **edges)], values.map(lambda n: n * factor))


def _off(edge: int | None, step: int) -> int | None:
    return None if edge is None else edge + step


@st.composite
def _fractions(draw: st.DrawFn) -> Kind:
    least, most = _bounds(draw, -3, 3)
    kind = Annotated[float, Meta(ge=least, le=most)] if (least, most) != (None, None) else float
    return Kind(kind, st.floats(least, most, allow_nan=False, allow_infinity=False))


_zoned = st.datetimes(timezones=st.just(UTC))
_SIMPLE = [
    Kind(bool, st.booleans()),
    Kind(None, st.none()),
    Kind(UUID, st.uuids()),
    Kind(Decimal, st.decimals(allow_nan=False)),
    Kind(bytes, st.binary(max_size=6)),
    Kind(Annotated[bytes, Meta(min_length=1, max_length=3)], st.binary(min_size=1, max_size=3)),
    Kind(date, st.dates()),
    Kind(timedelta, st.timedeltas(timedelta(-9), timedelta(9))),
    Kind(datetime, st.datetimes() | _zoned),
    Kind(Annotated[datetime, Meta(tz=True)], _zoned),
    Kind(Annotated[datetime, Meta(tz=False)], st.datetimes()),
    Kind(time, st.times() | st.times(timezones=st.just(UTC))),
    Kind(Annotated[time, Meta(tz=True)], st.times(timezones=st.just(UTC))),
    Kind(Annotated[time, Meta(tz=False)], st.times()),
    Kind(Literal["a", "b", "red"], st.sampled_from(["a", "b", "red"])),
    Kind(Literal["a"], st.just("a")),
    Kind(Literal[1, 2, None], st.sampled_from([1, 2, None])),
    Kind(Literal[2], st.just(2)),
    Kind(Colour, st.sampled_from(Colour)),
    Kind(Some, st.just(Some.RED)),
    Kind(
        Any,
        st.none() | st.booleans() | st.integers() | _letters | st.lists(_letters) | st.dictionaries(_letters, _letters),
    ),
]

_leaves = st.one_of(_texts(), _whole(), _fractions(), st.sampled_from(_SIMPLE))


@st.composite
def _leaf_pairs(draw: st.DrawFn, calm: bool = False) -> Pair:
    family = draw(st.sampled_from([_texts(), _whole(), _fractions(), st.sampled_from(_SIMPLE), _leaves]))
    written = draw(family)
    return Pair(written, written.type if calm or draw(st.booleans()) else draw(family).type)


def _optional(pair: Pair, written: bool, read: bool) -> Pair:
    if _has_null(pair.written.type) or _has_null(pair.read):
        return pair
    kind = Kind(pair.written.type | None, pair.written.values | st.none()) if written else pair.written
    return Pair(kind, pair.read | None if read else pair.read)


def _has_null(kind: Any) -> bool:
    try:
        msgspec.json.decode(b"null", type=kind)
    except msgspec.ValidationError:
        return False
    return True


def _list(pair: Pair, least: int | None, read_least: int | None, most: int | None) -> Pair:
    values = st.lists(pair.written.values, min_size=least or 0, max_size=max(3, least or 0))
    written = Annotated[list[pair.written.type], Meta(min_length=least)]  # type: ignore[name-defined]
    return Pair(Kind(written, values), Annotated[list[pair.read], Meta(min_length=read_least, max_length=most)])  # type: ignore[name-defined]


def _tuple(pairs: list[Pair], read_all: bool) -> Pair:
    written = Kind(tuple[tuple(p.written.type for p in pairs)], st.tuples(*(p.written.values for p in pairs)))  # type: ignore[misc]
    read = [p.read for p in pairs]
    return Pair(written, tuple[tuple(read)] if read_all else tuple[(*read, int)])  # type: ignore[misc]


_KEYS = [
    Kind(str, _letters),
    Kind(UUID, st.uuids()),
    Kind(int, st.integers(-9, 10**6)),
    Kind(Annotated[str, Meta(min_length=2)], st.text("ab", min_size=2, max_size=4)),
    Kind(Colour, st.sampled_from(Colour)),
]


@st.composite
def _dictionaries(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    pair, key = draw(inner), draw(st.sampled_from(_KEYS))
    read_key = key if draw(st.booleans()) else draw(st.sampled_from(_KEYS))
    least, most = draw(st.sampled_from([(None, None), (1, None), (None, 2)]))
    values = st.dictionaries(key.values, pair.written.values, max_size=3)
    read = Annotated[dict[read_key.type, pair.read], Meta(min_length=least, max_length=most)]  # type: ignore[name-defined]
    return Pair(Kind(dict[key.type, pair.written.type], values), read)  # type: ignore[name-defined]


@st.composite
def structs(draw: st.DrawFn, inner: st.SearchStrategy[Pair], tag: str | None = None, calm: bool = False) -> Pair:
    """Structs whose fields the reader may drop, add, require or refuse, by name or by position; calm ones only drop."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    pairs = {name: draw(inner) for name in names}
    left_out = {name for name in names if draw(st.integers(0, 3)) == 0}
    by_position = tag is None and not left_out and draw(st.integers(0, 7)) == 0
    written_fields = [
        (name, pair.written.type | UnsetType, UNSET) if name in left_out else (name, pair.written.type)
        for name, pair in pairs.items()
    ]
    read_fields: list[Any] = []
    for name, pair in pairs.items():
        if by_position or draw(st.integers(0, 4)):
            optional = not by_position and ((calm and name in left_out) or draw(st.booleans()))
            read_fields.append((name, pair.read | UnsetType, UNSET) if optional else (name, pair.read))
    if not calm and draw(st.integers(0, 5)) == 0:
        read_fields.append(("extra", int) if draw(st.booleans()) else ("extra", int, 0))
    options: dict[str, Any] = {"kw_only": not by_position, "array_like": by_position}
    number = next(_serial)
    refuses = not calm and draw(st.integers(0, 5)) == 0
    written = msgspec.defstruct(f"Written{number}", written_fields, tag=tag, **options)
    read = msgspec.defstruct(f"Read{number}", read_fields, tag=tag, forbid_unknown_fields=refuses, **options)
    fields = {n: (p.written.values | st.just(UNSET)) if n in left_out else p.written.values for n, p in pairs.items()}
    return Pair(Kind(written, st.fixed_dictionaries(fields).map(lambda values: written(**values))), read)


@st.composite
def _tagged(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    one, other = draw(structs(inner, tag="one")), draw(structs(inner, tag="two"))
    third = draw(structs(inner, tag="three"))
    written = Kind(one.written.type | other.written.type, one.written.values | other.written.values)
    reads = draw(st.sampled_from([one.read | other.read, one.read | other.read | third.read, one.read | third.read]))
    return Pair(written, reads)


def _containers(inner: st.SearchStrategy[Pair], calm: bool = False) -> st.SearchStrategy[Pair]:
    lengths = st.sampled_from([None, 1, 2])
    return st.one_of(
        st.builds(_optional, inner, st.just(False) if calm else st.booleans(), st.booleans()),
        st.builds(_list, inner, lengths, st.none() if calm else lengths, st.sampled_from([None, None, 4])),
        st.builds(_tuple, st.lists(inner, min_size=1, max_size=3), st.just(True) if calm else st.booleans()),
        _dictionaries(inner),
        structs(inner, calm=calm),
        _tagged(inner),
    )


wild = structs(st.recursive(_leaf_pairs(), _containers, max_leaves=5))
calm = structs(st.recursive(_leaf_pairs(True), lambda inner: _containers(inner, True), max_leaves=5), calm=True)
events = wild | calm
