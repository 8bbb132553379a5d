"""A function gives the same kind of value whether its result was computed or came from a real server."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.db import models
from django.utils import translation

from bandstand.cache import cache_result

pytestmark = pytest.mark.integration


class Status(models.TextChoices):
    PAID = "paid", "Paid in full"


class Line(NamedTuple):
    name: str
    price: Decimal


@dataclass(frozen=True)
class Receipt:
    status: Status
    lines: tuple[Line, ...]
    tags: frozenset[str]
    due: date
    opens: datetime


OPENS = datetime(2026, 10, 24, 9, tzinfo=ZoneInfo("Europe/Berlin"))
RECEIPT = Receipt(Status.PAID, (Line("Lamp", Decimal("19.90")),), frozenset({"a"}), date(2026, 1, 1), OPENS)
calls: list[Any] = []


@cache_result(timeout=60)
def receipt() -> Receipt:
    calls.append(1)
    return RECEIPT


@cache_result(timeout=60)
def undeclared():  # type: ignore[no-untyped-def]
    return Status.PAID


@cache_result(timeout=60)
def opens():  # type: ignore[no-untyped-def]
    calls.append(1)
    return OPENS


@cache_result(timeout=60)
def january() -> str:
    return str(translation.gettext("January"))


@pytest.mark.usefixtures("cache")
def test_a_hit_is_the_same_as_a_miss() -> None:
    """An enumeration keeps its label, a named tuple its field names, and a set stays a set."""
    calls.clear()
    miss, hit = receipt(), receipt()
    assert len(calls) == 1
    assert repr(hit) == repr(miss)
    assert hit == miss
    assert hit is not miss
    assert hit.status.label == "Paid in full"
    assert hit.lines[0].price == Decimal("19.90")


@pytest.mark.usefixtures("cache")
def test_a_time_keeps_its_zone() -> None:
    """Adding a day keeps the local hour, also across the end of summer time."""
    calls.clear()
    for found in (opens(), opens()):
        assert (found + timedelta(days=1)).astimezone(UTC).hour == 8
    assert len(calls) == 1


@pytest.mark.usefixtures("cache")
def test_what_is_not_declared_is_refused() -> None:
    """Every call is refused, with a message that names the annotation to write."""
    for _ in range(2):
        with pytest.raises(TypeError, match="-> Status"):
            undeclared()


@pytest.mark.usefixtures("cache")
def test_a_text_is_kept_for_its_language() -> None:
    """Each language has its own text, and invalidating the function forgets them all."""
    for _ in range(2):
        for language, text in (("de", "Januar"), ("fr", "janvier")):
            with translation.override(language):
                assert january() == text
    january.invalidate()
