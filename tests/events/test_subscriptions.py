from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from bandstand.context import new_context
from bandstand.events import Event, Message, subscribe
from bandstand.events.envelope import decode, encode
from bandstand.events.errors import HandlerNotRun
from bandstand.events.subscriptions import REGISTRY, Registry, Subscription
from bandstand.exceptions import ConfigurationError, InvalidEvent

from .conftest import UserCreated, body_of


class OrderPlaced(Event, type="user.created", version=1):
    order_id: str


def handler(event: UserCreated) -> None: ...


def subscription(function: Callable[..., object], pattern: str = "user.created") -> Subscription:
    return Subscription(name="x", pattern=pattern, handler=function)


@pytest.mark.parametrize(
    ("pattern", "event_type", "expected"),
    [
        ("order.placed", "order.placed", True),
        ("order.placed", "order.placed_late", False),
        ("order.*", "order.placed", True),
        ("order.*", "order.item.added", False),
        ("*.created", "user.created", True),
        ("*.*", "user.created", True),
        ("order.*", "reorder.placed", False),
    ],
)
def test_a_star_stands_for_one_word(pattern: str, event_type: str, expected: bool) -> None:
    """Patterns mean the same here as at the broker."""

    def any_event(event: dict) -> None: ...  # type: ignore[type-arg]

    assert subscription(any_event, pattern).matches(event_type) is expected


@pytest.mark.parametrize("pattern", ["", "user", "user.", "user.>", "user.crea*", "User.created", "user.created "])
def test_a_pattern_is_checked_where_it_is_written(pattern: str) -> None:
    """A pattern that no event could match is an error at import, not silence for ever."""
    with pytest.raises(ConfigurationError, match="write an event type"):
        subscribe(pattern)


def test_a_consumer_reads_with_its_own_view() -> None:
    """Fields that the view does not name are ignored; the message is passed only to handlers that want it."""
    seen: list[Any] = []

    class View(Event, type="user.created", version=1):
        email: str

    def one(event: View) -> None:
        seen.append(event)

    def two(event: View, message: Message) -> None:
        seen.append((event, message.id))

    message, data = decode(body_of(UserCreated(user_id="1", email="ada@example.com")))
    for function in (one, two):
        each = subscription(function)
        each.call(each.decode(message, data), message)
    assert seen == [View(email="ada@example.com"), (View(email="ada@example.com"), "message-1")]


def test_a_dict_gets_the_data_as_they_are() -> None:
    """A handler that declares dict reads events of every shape."""

    def log(event: dict[str, Any]) -> None: ...

    message, data = decode(body_of(UserCreated(user_id="1")))
    assert subscription(log, "user.*").decode(message, data) == {"user_id": "1", "email": ""}


def test_annotations_that_are_text_are_resolved() -> None:
    """`from __future__ import annotations` works, also when the message is imported for type checkers only."""

    def late(event: "UserCreated", message: "NotImportedHere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert subscription(late).views == (UserCreated,)


def test_only_the_named_service_is_believed() -> None:
    """What another service says under the same type is unreadable; without a name every service is believed."""
    event = UserCreated(user_id="7")
    known, strange = (
        decode(encode(event, id="1", source=source, key="k", context=new_context()))
        for source in ("user-service", "other-service")
    )
    strict = Subscription(name="x", pattern="user.created", handler=handler, source="user-service")
    assert strict.decode(*known) == event
    with pytest.raises(InvalidEvent, match=r"comes from other-service, but .*handler takes it from user-service alone"):
        strict.decode(*strange)
    assert subscription(handler).decode(*strange) == event


def test_an_unknown_version_is_not_guessed_at() -> None:
    """A version that the view does not declare is refused, whatever its fields look like."""

    class Second(Event, type="user.created", version=2):
        user_id: str

    message, data = decode(body_of(Second(user_id="1")))
    with pytest.raises(InvalidEvent, match="has version 2, but UserCreated reads 1"):
        subscription(handler).decode(message, data)


def test_data_that_do_not_fit_are_refused() -> None:
    """A missing or wrong field is named."""
    message, data = decode(encode(OrderPlaced(order_id="1"), id="1", source="a", key="k", context=new_context()))
    with pytest.raises(InvalidEvent, match="user_id"):
        subscription(handler).decode(message, data)


def no_annotation(event) -> None: ...  # type: ignore[no-untyped-def]
def wrong_annotation(event: str) -> None: ...
def bare_event(event: Event) -> None: ...
def too_many(event: UserCreated, message: Message, more: int) -> None: ...
def nothing() -> None: ...
def only_names(*, event: UserCreated) -> None: ...
def unresolved(event: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def coroutine(event: UserCreated) -> None: ...
async def asynchronous(event: UserCreated) -> AsyncIterator[None]:
    yield


def generator(event: UserCreated) -> Iterator[None]:
    yield


def another_type(event: UserCreated) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (no_annotation, "needs an annotation"),
        (wrong_annotation, "needs an annotation"),
        (bare_event, "needs an annotation"),
        (too_many, r"\(event\) or \(event, message\)"),
        (nothing, r"\(event\) or \(event, message\)"),
        (only_names, r"\(event\) or \(event, message\)"),
        (unresolved, "can't be resolved"),
        (coroutine, "is async"),
        (asynchronous, "is async"),
        (generator, "is a generator"),
        (partial(wrong_annotation), "above a function"),
    ],
)
def test_a_handler_s_signature_is_checked_at_import(function: Callable[..., object], says: str) -> None:
    """What could not be called later is refused now, with what to write instead."""
    with pytest.raises(ConfigurationError, match=says):
        subscription(function)


async def run() -> None: ...


@pytest.mark.parametrize(
    "lazy", [run, lambda: generator(UserCreated(user_id="1")), lambda: asynchronous(UserCreated(user_id="1"))]
)
def test_a_handler_does_its_work_before_it_returns(lazy: Callable[[], object]) -> None:
    """A coroutine or generator that it returns would never run, so the attempt fails; any other value is ignored."""

    def handle(event: UserCreated) -> object:
        return lazy()

    def answer(event: UserCreated) -> object:
        return 7

    event, message = UserCreated(user_id="1"), decode(body_of(UserCreated(user_id="1")))[0]
    with pytest.raises(HandlerNotRun, match="has not run"):
        subscription(handle).call(event, message)
    subscription(answer).call(event, message)


def test_a_view_that_fails_by_itself_does_not_fit() -> None:
    """Whatever a view's own ``__post_init__`` raises, the event is one that it can't read."""

    class Picky(Event, type="user.created", version=1):
        user_id: str

        def __post_init__(self) -> None:
            raise KeyError(self.user_id)

    def handle(event: Picky) -> None: ...

    with pytest.raises(InvalidEvent, match=r"does not fit Picky: KeyError\('1'\)"):
        subscription(handle).decode(*decode(body_of(UserCreated(user_id="1"))))


def test_a_view_of_another_type_is_refused() -> None:
    """Subscribing to one type and reading it as another is a slip of the pen."""
    with pytest.raises(ConfigurationError, match=r"subscribes to 'user\.deleted'"):
        subscription(another_type, "user.deleted")


def test_a_name_belongs_to_one_handler() -> None:
    """Two handlers under one name would share an inbox, so that each gets half of the events."""
    registry = Registry()
    registry.add(subscription(handler))
    registry.add(subscription(handler))
    with pytest.raises(ConfigurationError, match="Two handlers subscribe as 'x'"):
        registry.add(subscription(another_type))


def test_the_name_comes_from_module_and_function() -> None:
    """Without a name, the subscription is called after the app and the function."""

    def send_welcome(event: UserCreated) -> None: ...

    send_welcome.__module__ = "users.events"
    try:
        assert subscribe("user.created")(send_welcome) is send_welcome
        found = REGISTRY.get("users.send_welcome")
        assert found is not None
        assert found.handler is send_welcome
    finally:
        REGISTRY.remove("users.send_welcome")


@pytest.mark.parametrize("name", ["With Space", "a/b", "a" * 81, ">"])
def test_a_name_is_what_every_broker_can_hold(name: str) -> None:
    """A name goes into consumers, queues and columns."""
    with pytest.raises(ConfigurationError, match="give a name"):
        subscribe("user.created", name=name)(handler)
