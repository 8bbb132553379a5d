import json
import math
import pickle
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from bandstand.cache.values import decode, encode, encode_stable

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**80),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(timezones=st.timezones()),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
KEYS = st.one_of(st.text(), st.just("$"), st.just("v"), st.integers(), st.tuples(st.integers(), st.text()), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.frozensets(st.one_of(st.integers(), st.text()), max_size=4),
        st.sets(st.uuids(), max_size=3),
    ),
    max_leaves=20,
)


class dateutil_like(tzinfo):  # noqa: N801 - as the zones of that package
    """A time zone that has no name to restore it by."""

    def utcoffset(self, moment: Any) -> timedelta:
        return timedelta(hours=1)

    def dst(self, moment: Any) -> timedelta:
        return timedelta(0)


def typed(value: Any) -> Any:
    """Equal values of different types differ in this form."""
    if isinstance(value, dict):
        return ("dict", [(typed(key), typed(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [typed(item) for item in value])
    return (type(value).__name__, value)


@given(VALUES)
def test_values_come_back_as_what_they_were(value: Any) -> None:
    """Value and type survive, at any depth, with keys that are no texts or that look like the marks of the format."""
    encoded = encode(value)
    json.loads(encoded)
    assert typed(decode(encoded)) == typed(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5.5)))])
def test_what_json_has_no_form_for(value: Any) -> None:
    """Infinities and offsets survive."""
    assert decode(encode(value)) == value


def test_nan() -> None:
    """NaN stays NaN instead of becoming null."""
    assert math.isnan(decode(encode({"x": [math.nan]}))["x"][0])


class Colour(IntEnum):
    RED = 1


class Word(str):
    __slots__ = ()


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (Colour.RED, "-> Colour"),
        (Pair(1, 2), "-> Pair"),
        (Word("a"), "plain str"),
        (OrderedDict(a=1), "plain dict"),
        (gettext_lazy("January"), "str"),
        (datetime(2026, 1, 1, tzinfo=dateutil_like()), "ZoneInfo"),
        (time(1, tzinfo=dateutil_like()), "ZoneInfo"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(value: Any, advice: str) -> None:
    """The call that stores the value fails at any depth, with advice on what to store instead."""
    for nested in (value, [value], {"a": (value,)}):
        with pytest.raises(TypeError, match=advice):
            encode(nested)


BERLIN = ZoneInfo("Europe/Berlin")
NAMED = timezone(timedelta(hours=2, seconds=1), "odd")


@pytest.mark.parametrize(
    "value",
    [
        mark_safe("<b>&amp;</b>"),
        datetime(2026, 10, 24, 9, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001 - naive ones are kept as well
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5.5))),
        datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=NAMED),
        time(9, tzinfo=BERLIN),
        time(9, fold=1, tzinfo=NAMED),
        time(9, tzinfo=UTC),
        -0.0,
    ],
)
def test_a_hit_is_the_same_as_a_miss(value: Any) -> None:
    """The type, the text, the zone with its name, and the fold are restored."""
    found = decode(encode([value]))[0]
    assert type(found) is type(value)
    assert repr(found) == repr(value)
    if isinstance(value, datetime):
        assert type(found.tzinfo) is type(value.tzinfo)
        assert (found + timedelta(days=1)).utcoffset() == (value + timedelta(days=1)).utcoffset()


@pytest.mark.parametrize("value", [object(), [object()], {"a": {1: object()}}, len, Colour, iter([])])
def test_objects_are_refused(value: Any) -> None:
    """Only data can be kept, and the error says what to keep instead."""
    with pytest.raises(TypeError, match="only data can"):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nul",
        pickle.dumps({"a": 1}),
        b'{"$":"unknown","v":1}',
        b'{"$":"uuid","v":"x"}',
        b'{"$":"uuid"}',
        b'{"$":[],"v":1}',
        b'{"$":"dict","v":[[[],1]]}',
        b'{"$":"dict","v":1}',
        b'{"$":"decimal","v":"abc"}',
        b'{"$":"datetime","v":5}',
        b'{"$":"timedelta","v":[1]}',
        b'{"$":"timedelta","v":[1e99,1,1]}',
        b'{"$":"set","v":[[]]}',
        b'{"$":"int","v":"0x"}',
        b'{"$":"datetime","v":["2026-01-01","Nowhere/City",0]}',
        b'{"$":"datetime","v":["2026-01-01","../../etc/passwd",0]}',
        b'{"$":"datetime","v":["2026-01-01",[1e99,"a"],0]}',
        b'{"$":"time","v":["10:00"]}',
        b'{"$":"declared","v":[1]}',
        b'{"$":"safe"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_bytes_that_are_no_value_are_an_error_of_one_kind(data: bytes) -> None:
    """Whatever stands in the cache: a ValueError, so that a reader has one case to think of."""
    with pytest.raises(ValueError):
        decode(data)


def test_stable_form_ignores_order() -> None:
    """Equal dicts and sets have one stable form, different types have different ones."""
    assert encode_stable({"a": 1, "b": 2}) == encode_stable({"b": 2, "a": 1})
    assert encode_stable({"x", "y", "z"}) == encode_stable({"z", "y", "x"})
    assert len({encode_stable(value) for value in (1, 1.0, True, "1", Decimal(1), b"1", (1,), [1], {1}, None)}) == 10


def test_dates_are_not_datetimes() -> None:
    """A datetime is a date in Python; here they stay apart."""
    assert type(decode(encode(date(2026, 1, 1)))) is date
    assert type(decode(encode(datetime(2026, 1, 1)))) is datetime  # noqa: DTZ001 - naive ones are kept as well
    assert decode(encode(time(1, 2))) == time(1, 2)
    assert decode(encode(UUID(int=5))) == UUID(int=5)
