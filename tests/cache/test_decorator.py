import enum
import functools
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.db import models
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, gettext, override
from pytest_django.fixtures import Settings

from bandstand.cache import DistributedCache, cache_result, invalidate_tag
from bandstand.cache.tags import tag_key
from bandstand.context import bind, new_context
from bandstand.exceptions import UnstableKey

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


@cache_result(timeout=60, tags=["prices", "product:{product_id}"])
def price_of(product_id: str, currency: str = "EUR") -> Decimal | None:
    """The price of a product."""
    calls.append((product_id, currency))
    return Decimal("19.90") if product_id != "unknown" else None


def test_each_call_is_computed_once() -> None:
    """However it is written; another argument is another result; None is kept."""
    assert price_of("1") == price_of(product_id="1") == price_of("1", "EUR") == Decimal("19.90")
    assert type(price_of("1")) is Decimal
    price_of("1", "USD")
    price_of("unknown"), price_of("unknown")
    assert calls == [("1", "EUR"), ("1", "USD"), ("unknown", "EUR")]


def test_one_result_is_invalidated() -> None:
    """With the arguments of the call."""
    price_of("1"), price_of("2")
    price_of.invalidate(product_id="1")
    price_of("1"), price_of("2")
    assert calls == [("1", "EUR"), ("2", "EUR"), ("1", "EUR")]


@pytest.mark.parametrize(("tag", "forgotten"), [("product:1", 1), ("product:2", 1), ("prices", 2), ("product:3", 0)])
def test_tags_name_arguments(tag: str, forgotten: int) -> None:
    """A tag with an argument in braces belongs to that argument's results."""
    price_of("1"), price_of("2")
    invalidate_tag(tag)
    price_of("1"), price_of("2")
    assert len(calls) == 2 + forgotten


def test_tags_may_be_a_function() -> None:
    """Of the arguments as they were given."""

    @cache_result(tags=lambda ids: [f"product:{each}" for each in ids])
    def total(ids: list[int]) -> int:
        calls.append(ids)
        return sum(ids)

    total([1, 2]), total([1, 2])
    invalidate_tag("product:2")
    total([1, 2])
    assert len(calls) == 2


def test_results_are_kept_apart_by_user() -> None:
    """Each verified user has results of their own, and so have those who did not sign in."""

    @cache_result(per_user=True)
    def greeting() -> str:
        calls.append(1)
        return f"greeting {len(calls)}"

    seen = []
    for user in ("1", None, "2", "1", None):
        with bind(new_context(user=user)):
            seen.append(greeting())
    assert seen == ["greeting 1", "greeting 2", "greeting 3", "greeting 1", "greeting 2"]
    with bind(new_context(user="1")):
        greeting.invalidate()
        assert greeting() == "greeting 4"
    with bind(new_context(user="2")):
        assert greeting() == "greeting 3"


def test_an_argument_without_a_stable_form_is_refused() -> None:
    """It would be a key that nobody finds again."""
    with pytest.raises(UnstableKey):
        price_of(object())  # type: ignore[arg-type]
    assert calls == []


def test_it_looks_like_the_function() -> None:
    """Name and text stay, and the function itself can be had."""
    assert price_of.__name__ == "price_of"
    assert price_of.__doc__ == "The price of a product."
    price_of.uncached("1"), price_of.uncached("1")
    assert len(calls) == 2


def test_coroutines_and_generators_are_refused() -> None:
    """They are no values; it is told where the decorator stands."""

    async def coroutine() -> None: ...

    def generator() -> Any:
        yield 1

    for function in (coroutine, generator):
        with pytest.raises(TypeError, match="no value to keep"):
            cache_result()(function)


def test_a_prefix_of_ones_own() -> None:
    """Two functions under one prefix share their results."""

    @cache_result(key_prefix="shared")
    def first(x: int) -> str:
        return "first"

    @cache_result(key_prefix="shared")
    def second(x: int) -> str:
        return "second"

    assert [first(1), second(1)] == ["first", "first"]


class Status(models.TextChoices):
    PAID = "paid", "Paid in full"
    OPEN = "open", "Open"


class Rights(enum.IntFlag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"

    @functools.cached_property
    def text(self) -> str:
        return f"{self.amount} {self.currency}"


@dataclass
class Checked:
    number: int
    made: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.made += 1


class Line(NamedTuple):
    name: str
    price: Money


class Page(msgspec.Struct, frozen=True):
    lines: list[Line]
    status: Status | None = None
    opens: datetime | None = None


RESULTS = [
    Status.PAID, Rights.READ | Rights.WRITE, Rights(0), Money(Decimal("1.50")), Line("a", Money(Decimal(1))),
    Page([Line("a", Money(Decimal(1)))], Status.OPEN, datetime(2026, 10, 24, 9, tzinfo=ZoneInfo("Europe/Berlin"))),
    {"a": [Status.PAID, (Money(Decimal(2)), {Status.OPEN})], Status.PAID: frozenset({Money(Decimal(3))})}, Checked(1),
    [mark_safe("<b>"), date(2026, 1, 1), b"x", None, 1, 1.5, {"$": "v"}],
]  # fmt: skip


@pytest.mark.parametrize("value", RESULTS, ids=lambda value: type(value).__name__)
def test_a_hit_is_the_same_as_a_miss(value: Any) -> None:
    """Classes that the annotation names, and those in their fields, come back as what they were, at any depth."""

    @cache_result(key_prefix="any")
    def result() -> dict[str, Status | Literal[Rights.READ]] | Page | list[Checked]:
        calls.append(1)
        return value  # type: ignore[no-any-return]

    result.invalidate()
    miss, hit = result(), result()
    assert len(calls) == 1
    assert type(hit) is type(miss)
    assert (hit, repr(hit)) == (miss, repr(miss))
    if isinstance(value, Money):
        assert hit.text == "1.50 EUR"  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [Status.PAID, Money(Decimal(1)), Line("a", Money(Decimal(1))), Page([])])
def test_a_class_that_is_not_declared_is_refused(value: Any) -> None:
    """The first call fails with the annotation to write."""

    @cache_result(key_prefix="undeclared")
    def result() -> Any:
        return value

    with pytest.raises(TypeError, match=f"-> {type(value).__name__}"):
        result()


def test_a_state_that_is_in_no_field_is_refused() -> None:
    """An attribute that is no field would be lost, so the instance is refused."""

    @cache_result()
    def result() -> Checked:
        checked = Checked(1)
        checked.surplus = 2  # type: ignore[attr-defined]
        return checked

    with pytest.raises(TypeError, match="'surplus' is no field"):
        result()


def test_what_another_release_has_kept_is_a_miss() -> None:
    """A class with other fields, or one that is not declared any more, is computed anew."""

    def keep(kind: Any) -> Any:
        def result() -> Any:
            calls.append(1)
            return kind(1) if kind else 1

        result.__annotations__["return"] = kind
        return cache_result(key_prefix="release")(result)()

    old, new = make_dataclass("Thing", ["a"]), make_dataclass("Thing", ["b"])
    assert [type(keep(kind)) for kind in (old, old, new, new, None, None)] == [old, old, new, new, int, int]
    assert len(calls) == 3


def test_classes_are_declared_by_hand() -> None:
    """``DistributedCache(types=…)`` keeps the classes that it is given, where no annotation names them."""
    kept = DistributedCache("by-hand", types=[Page])
    value = Page([Line("a", Money(Decimal(1)))], Status.OPEN)
    kept.set("a", value)
    assert kept.get("a") == value
    assert kept.get_or_set("a", lambda: None) == value  # type: ignore[comparison-overlap]
    with pytest.raises(TypeError, match="can't be declared"):
        DistributedCache("by-hand", types=[int]).set("a", 1)


@cache_result(timeout=60)
def january() -> str:
    calls.append(get_language())
    return gettext("January")


def test_a_text_is_kept_for_its_language() -> None:
    """A result computed in one language is never returned in another."""
    for _ in range(2):
        seen = []
        for language in ("de", "fr", "en-us", None):
            with override(language):
                seen.append(january())
        assert seen == ["Januar", "janvier", "January", "January"]
    assert calls == ["de", "fr", "en-us", None]
    january.invalidate()
    with override("fr"):
        january()
    assert calls[-1] == "fr"
    assert len(calls) == 5


def test_a_language_that_is_not_listed_is_kept_and_forgotten_too(cache: Any, settings: Settings) -> None:
    """A language outside LANGUAGES has its own entry too, and invalidating removes the tag as well."""
    settings.LANGUAGES = [("en-us", "English")]
    with override("pt"):
        assert january() == january() == "Janeiro"
        assert len(calls) == 1
        tag = tag_key(january._tag_of_translations(january._key({})))
        assert cache.get(tag)
        january.invalidate()
        assert cache.get(tag) is None
        assert january() == "Janeiro"
        assert len(calls) == 2


def test_results_without_text_are_kept_once() -> None:
    """With ``per_language=False`` all languages share one entry."""

    @cache_result(per_language=False)
    def number() -> int:
        calls.append(1)
        return 1

    for language in ("de", "fr"):
        with override(language):
            number()
    assert calls == [1]
