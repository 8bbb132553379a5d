import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.finite import find_non_finite


@dataclass
class Point:
    x: float
    y: Any = 0


class Line(msgspec.Struct, rename="camel"):
    first_point: Point
    others: tuple[Any, ...] = ()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, ""),
        (math.inf, ""),
        (-math.inf, ""),
        (Decimal("NaN"), ""),
        (Decimal("sNaN"), ""),
        (Decimal("-Infinity"), ""),
        ([0, 1.0, math.nan], "2"),
        ({"results": [{"price": 1.0}, {"price": math.inf}]}, "results.1.price"),
        ((1, {"a": (math.nan,)}), "1.a.0"),
        (Point(1.0, [math.nan]), "y.0"),
        (Line(Point(math.nan)), "firstPoint.x"),
        ({"line": Line(Point(0.0), others=(Decimal("Infinity"),))}, "line.others.0"),
    ],
)
def test_the_path_of_a_number_that_is_none(value: Any, path: str) -> None:
    """In dictionaries, lists, tuples, dataclasses and structs, by the names that JSON would have."""
    assert find_non_finite(value) == path


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.decimals())
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=15
)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, (dict, list)):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in leaves(item)]
    return [value]


def is_non_finite(value: Any) -> bool:
    return (
        not value.is_finite() if isinstance(value, Decimal) else isinstance(value, float) and not math.isfinite(value)
    )


@given(VALUES)
def test_all_of_them_are_found_and_nothing_else(value: Any) -> None:
    """Whatever is nested in whatever."""
    assert (find_non_finite(value) is not None) == any(map(is_non_finite, leaves(value)))
