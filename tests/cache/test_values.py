import json
import math
import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
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


def test_kinds_of_text_and_number_become_plain() -> None:
    """A mark of safety or an enumeration is not data; the text or number is."""
    assert decode(encode(mark_safe("<b>"))) == "<b>"
    assert type(decode(encode([mark_safe("<b>")]))[0]) is str
    assert decode(encode(Colour.RED)) == 1


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
