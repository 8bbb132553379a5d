from decimal import Decimal
from typing import Any

import pytest

from bandstand.cache import cache_result, invalidate_tag
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
