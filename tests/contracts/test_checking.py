from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from bandstand.workspace.contracts import Finding, Publication, View, check

from .conftest import consumption, platform, promised, publication, service, view


class Item(msgspec.Struct):
    quantity: int


class Placed(msgspec.Struct):
    order_id: UUID
    items: list[Item]
    note: str = ""


def checked(
    published: Publication | tuple[Publication, ...], *views: View, before: type[Any] | None = None, **options: Any
) -> list[Finding]:
    publications = published if isinstance(published, tuple) else (published,)
    whole = platform(
        service("order-service", *publications),
        service("product-service", consumes=(consumption(*views, **options),)),
    )
    return list(check(whole, promised(before) if before else {}))


def test_what_everybody_can_read_is_no_finding() -> None:
    """A view with fewer fields and wider types is fine, and so is one without a version."""

    class Reading(msgspec.Struct):
        order_id: str
        extra: int = 0

    assert checked(publication(Placed), view(Reading), before=Placed) == []
    assert checked(publication(Placed), view(Reading, None), pattern="order.*") == []


def test_a_consumer_that_asks_for_more_is_named() -> None:
    """Producer, consumer, handler, field, an event as proof, and what to do."""

    class Counted(msgspec.Struct):
        quantity: Annotated[int, Meta(ge=1)]

    class Strict(msgspec.Struct):
        items: list[Counted]

    (finding,) = checked(publication(Placed), view(Strict))
    assert (finding.level, finding.code) == ("error", "breaks_consumer")
    assert (finding.producer, finding.consumer) == ("order-service", "product-service")
    assert (finding.subscription, finding.path) == ("stock.reserve", "items[].quantity")
    assert finding.message == (
        "order.placed v1: items[].quantity: product-service (stock.reserve) reads a whole number ≥ 1, "
        "but order-service may send a whole number."
    )
    assert finding.hint.startswith("Let the class that order-service publishes promise as much")
    assert finding.example[0]["items"] == [{"quantity": 0}]


class WithoutNote(msgspec.Struct):
    order_id: UUID
    items: list[Item]


class Renamed(msgspec.Struct):
    id: UUID
    items: list[Item]
    note: str = ""


class Loosened(msgspec.Struct):
    items: list[Item]
    order_id: UUID | msgspec.UnsetType = msgspec.UNSET
    note: str = ""


class Retyped(msgspec.Struct):
    order_id: int
    items: list[Item]
    note: str = ""


class NeedsId(msgspec.Struct):
    order_id: str


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Renamed, "needs it, but order-service does not send it. It was a UUID and is gone. Was it renamed to id?"),
        (Loosened, "needs it, but order-service may leave it out. It was always there and may be left out now."),
        (Retyped, "reads text, but order-service may send a whole number. It was a UUID and is a whole number now."),
    ],
)
def test_a_change_that_breaks_a_consumer_is_told_with_what_was(now: type[Any], words: str) -> None:
    """Without a new version a field can't be renamed, made optional or retyped while somebody needs it."""
    (finding,) = checked(publication(now), view(NeedsId), before=Placed)
    assert (finding.code, finding.path, finding.level) == ("breaks_consumer", "order_id", "error")
    assert finding.message.endswith(words)
    assert "publish version 2" in finding.hint


def test_a_removed_field_that_is_read_is_an_error_even_with_a_default() -> None:
    """A consumer that silently gets its default from now on is broken too, though it decodes."""

    class Reads(msgspec.Struct):
        note: str = "none"

    (finding,) = checked(publication(WithoutNote), view(Reads), before=Placed)
    assert (finding.code, finding.path, finding.consumer) == ("removed_field", "note", "product-service")


def test_a_change_that_nobody_here_reads_is_a_warning() -> None:
    """The promise was made to others too, but none of the workspace is broken."""
    (finding,) = checked(publication(WithoutNote), view(NeedsId), before=Placed)
    assert (finding.level, finding.code, finding.path) == ("warning", "changed_promise", "note")


def test_a_promise_may_grow() -> None:
    """A new field and a narrower type break nobody, so nothing is said."""

    class Grown(msgspec.Struct):
        order_id: UUID
        items: Annotated[list[Item], Meta(min_length=1)]
        currency: str
        note: str = ""

    assert checked(publication(Grown), view(NeedsId), before=Placed) == []


def test_events_from_before_must_be_readable_still() -> None:
    """A consumer can't need a new field at once: what is stored at the broker does not have it."""

    class Grown(msgspec.Struct):
        order_id: UUID
        currency: str

    class NeedsCurrency(msgspec.Struct):
        currency: str

    (finding,) = checked(publication(Grown), view(NeedsCurrency), before=NeedsId)
    assert (finding.code, finding.path) == ("breaks_stored_events", "currency")
    assert "default" in finding.hint


def test_two_patterns_are_not_guessed_at() -> None:
    """What can't be decided is an error of its own, that says how to make it decidable."""

    class Written(msgspec.Struct):
        code: Annotated[str, Meta(pattern="^[a-z]{3}$")]

    class Read(msgspec.Struct):
        code: Annotated[str, Meta(pattern="^[a-z]+$")]

    (finding,) = checked(publication(Written), view(Read))
    assert (finding.level, finding.code, finding.example) == ("error", "undecided", ())


def test_a_version_without_a_view_would_be_dead_letters() -> None:
    """Each version that is published needs a view in each subscription of the type."""
    both = (publication(Placed), publication(Renamed, version=2))
    (finding,) = checked(both, view(NeedsId))
    assert (finding.code, finding.version, finding.consumer) == ("version_not_read", 2, "product-service")
    assert checked(both, view(NeedsId), view(Renamed, 2)) == []


def test_an_old_view_may_stay_for_old_events() -> None:
    """A view of a version that is not published any more is a warning beside one that is, and else an error."""
    second = publication(Renamed, version=2)
    (finding,) = checked(second, view(NeedsId), view(Renamed, 2))
    assert (finding.level, finding.code) == ("warning", "nobody_publishes")
    assert {(each.level, each.code) for each in checked(second, view(NeedsId))} == {
        ("error", "nobody_publishes"),
        ("error", "version_not_read"),
    }


def test_a_subscription_to_nothing_is_told_with_the_nearest_type() -> None:
    """Silence for ever is found before it begins."""
    (finding,) = checked(publication(Placed), view(NeedsId), pattern="order.place")
    assert (finding.code, finding.consumer) == ("nobody_publishes", "product-service")
    assert finding.hint.startswith("Did you mean order.placed?")
    assert "@publishes" in finding.hint


def test_a_type_that_went_is_remembered() -> None:
    """The hint names who published it before."""
    (finding,) = checked((), view(NeedsId), before=Placed)
    assert finding.hint.startswith("order-service published order.placed v1 until now.")


def test_a_type_has_one_owner() -> None:
    """Two services that publish one type are an error, whatever their schemas."""
    whole = platform(service("a-service", publication(Placed)), service("b-service", publication(Placed)))
    (finding,) = check(whole, {})
    assert (finding.code, finding.message) == (
        "two_publishers",
        "order.placed is published by a-service and by b-service.",
    )


def test_a_subscription_that_believes_another_service_is_told() -> None:
    """An event from another source than the named one is a dead letter."""
    (finding,) = checked(publication(Placed), view(NeedsId), source="orders-service")
    assert (finding.code, finding.consumer) == ("wrong_source", "product-service")
    assert checked(publication(Placed), view(NeedsId), source="order-service") == []
