"""From an event to a mail: each person hears of each event once, and of none never."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from bandstand.events import Event
from bandstand.exceptions import InvalidEvent
from bandstand.testing.races import run_at_once
from django.core.mail import EmailMessage

from notifications.events import (
    NotificationQueued,
    OrderCancelled,
    OrderConfirmed,
    OrderRejected,
    UserCreated,
    greet,
)
from notifications.models import Notification

pytestmark = pytest.mark.django_db

USER = uuid.uuid4()
ORDER = uuid.uuid4()
BUYER: dict[str, Any] = {"order_id": ORDER, "user_id": USER, "user_email": "ada@example.com"}
EVENTS: dict[str, tuple[Event, str, tuple[str, ...]]] = {
    "welcome": (
        UserCreated(user_id=USER, email="ada@example.com", username="ada", first_name="Ada"),
        "user-service",
        ("Welcome to the shop", "Hello Ada,", "ready"),
    ),
    "order_confirmed": (
        OrderConfirmed(**BUYER, total_amount="100.10", currency="EUR"),
        "order-service",
        (f"Your order {str(ORDER)[:8]} is confirmed", str(ORDER), "100.10 EUR"),
    ),
    "order_rejected": (
        OrderRejected(**BUYER, reason="Desk lamp: only 1 left."),
        "order-service",
        (f"Your order {str(ORDER)[:8]} can't be delivered", str(ORDER), "\n\nDesk lamp: only 1 left.\n\n"),
    ),
    "order_cancelled": (
        OrderCancelled(**BUYER),
        "order-service",
        (f"Your order {str(ORDER)[:8]} is cancelled", str(ORDER), "as you asked"),
    ),
}

Receive = Callable[..., int]


class Crash(Exception):
    """What a test stops the process with."""


@pytest.mark.parametrize("kind", EVENTS)
def test_each_event_is_one_mail(
    receive_event: Receive, deliver_events: Callable[[], int], mailoutbox: list[EmailMessage], kind: str
) -> None:
    """The person concerned gets one mail that says what happened, and the notification tells that it was sent."""
    event, source, words = EVENTS[kind]
    receive_event(event, key="k", source=source)
    assert mailoutbox == [], "no mail is sent before its notification is stored for good"
    deliver_events()
    [mail] = mailoutbox
    assert mail.to == ["ada@example.com"]
    assert mail.subject == words[0]
    for word in words[1:]:
        assert word in mail.body
    notification = Notification.objects.get()
    assert (notification.kind, notification.user_id, notification.status) == (kind, USER, "sent")
    assert (notification.subject, notification.body) == (mail.subject, mail.body)
    assert notification.sent_at is not None


@pytest.mark.parametrize("kind", EVENTS)
def test_a_repeated_event_is_no_second_mail(
    receive_event: Receive, deliver_events: Callable[[], int], mailoutbox: list[EmailMessage], kind: str
) -> None:
    """Delivered again before or after it was sent, an event is still one mail."""
    event, source, _ = EVENTS[kind]
    identifier = str(uuid.uuid4())
    for _ in range(2):
        receive_event(event, key="k", source=source, id=identifier)
        receive_event(event, key="k", source=source, id=identifier)
        deliver_events()
    assert len(mailoutbox) == Notification.objects.count() == 1


@pytest.mark.parametrize("kind", EVENTS)
def test_nobody_else_has_mails_sent(receive_event: Receive, kind: str) -> None:
    """A service that is not the one concerned can't have the shop write to people."""
    with pytest.raises(InvalidEvent, match="alone"):
        receive_event(EVENTS[kind][0], key="k", source="product-service")
    assert not Notification.objects.exists()


def test_an_event_that_the_inbox_has_forgotten_is_no_second_mail(
    receive_event: Receive,
    deliver_events: Callable[[], int],
    mailoutbox: list[EmailMessage],
    make_notification: Callable[..., Notification],
    published_events: Callable[..., list[Any]],
) -> None:
    """An old event that is replayed after the inbox was tidied finds its notification, and adds none."""
    known = make_notification(status="sent")
    event, source, _ = EVENTS["welcome"]
    receive_event(event, key="k", source=source, id=str(known.event_id))
    assert published_events() == []
    deliver_events()
    assert mailoutbox == []
    assert Notification.objects.get() == known


def test_a_crash_before_the_mail_is_sent_loses_nothing(
    receive_event: Receive, deliver_events: Callable[[], int], mailoutbox: list[EmailMessage]
) -> None:
    """The event that sends it is committed with the notification, and waits in the outbox."""
    event, source, _ = EVENTS["welcome"]
    receive_event(event, key="k", source=source)
    assert Notification.objects.get().status == "queued"
    deliver_events()  # a process that started later
    assert len(mailoutbox) == 1


def test_a_crash_while_the_notification_is_written_leaves_no_half(
    receive_event: Receive, published_events: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the notification can't be announced it is not stored either; the event comes again and has its effect."""
    event, source, _ = EVENTS["welcome"]
    identifier = str(uuid.uuid4())
    with monkeypatch.context() as patch:
        patch.setitem(greet.__globals__, "publish", crash)
        with pytest.raises(Crash):
            receive_event(event, key="k", source=source, id=identifier)
    assert not Notification.objects.exists()
    receive_event(event, key="k", source=source, id=identifier)
    assert Notification.objects.count() == len(published_events("notification.queued")) == 1


def crash(*_: Any, **__: Any) -> None:
    raise Crash


def test_a_crash_after_the_mail_was_taken_sends_the_same_mail_again(
    receive_event: Receive, mailoutbox: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: what was sent, but not noted, is sent again with the same Message-ID, and then never more."""
    event, source, _ = EVENTS["order_confirmed"]
    receive_event(event, key="k", source=source)
    queued = NotificationQueued(notification_id=Notification.objects.get().pk)
    with monkeypatch.context() as patch:
        patch.setattr(Notification, "save", crash)
        with pytest.raises(Crash):
            receive_event(queued, key="k", source="notification-service", id="0190-a")
    assert Notification.objects.get().status == "queued"
    for identifier in ("0190-a", "0190-a", "0190-b"):
        receive_event(queued, key="k", source="notification-service", id=identifier)
    first, second = (mail.message()["Message-ID"] for mail in mailoutbox)
    assert first == second
    assert first.startswith(f"<{Notification.objects.get().event_id}.order_confirmed@")
    assert Notification.objects.get().status == "sent"


@pytest.mark.django_db(transaction=True)
def test_two_workers_send_one_mail(
    make_notification: Callable[..., Notification], receive_event: Receive, mailoutbox: list[EmailMessage]
) -> None:
    """Two processes that hear of the same notification at once, under different ids: the second finds it sent."""
    queued = NotificationQueued(notification_id=make_notification().pk)
    run_at_once(4, lambda turn: receive_event(queued, key=str(turn), source="notification-service"))
    assert len(mailoutbox) == 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("welcome", {"email": "ada@example.com\nBcc: all@example.com"}),
        ("welcome", {"email": "ada@example.com\n"}),
        ("welcome", {"email": "a\x00da@example.com"}),
        ("welcome", {"email": "ada"}),
        ("welcome", {"email": ""}),
        ("welcome", {"email": "a" * 250 + "@b.de"}),
        ("welcome", {"email": ["ada@example.com"]}),
        ("welcome", {"user_id": "7"}),
        ("welcome", {"username": {"a": 1}}),
        ("order_confirmed", {"currency": "EUR\n"}),
        ("order_confirmed", {"total_amount": "much"}),
        ("order_rejected", {"order_id": "x\r\ny"}),
        ("order_rejected", {"reason": None}),
        ("order_cancelled", {"user_email": "ada@example.com, eve@example.com"}),
    ],
)
def test_what_can_not_be_sent_is_never_queued(receive_event: Receive, kind: str, change: dict[str, Any]) -> None:
    """An event that no mail can be made of is unreadable, and so a dead letter at once instead of after many tries."""
    event, source, _ = EVENTS[kind]
    fields = {name: getattr(event, name) for name in event.__struct_fields__} | change
    with pytest.raises(InvalidEvent):
        receive_event(VIEWS[kind](**fields), key="k", source=source)
    assert not Notification.objects.exists()


class AnyUserCreated(Event, type="user.created", version=1):
    """A registration as a publisher with a fault might announce it."""

    user_id: Any
    email: Any
    username: Any
    first_name: Any


class AnyOrderConfirmed(Event, type="order.confirmed", version=1):
    """The same for orders."""

    order_id: Any
    user_id: Any
    user_email: Any
    total_amount: Any
    currency: Any


class AnyOrderRejected(Event, type="order.rejected", version=1):
    """The same for rejections."""

    order_id: Any
    user_id: Any
    user_email: Any
    reason: Any


class AnyOrderCancelled(Event, type="order.cancelled", version=1):
    """The same for cancellations."""

    order_id: Any
    user_id: Any
    user_email: Any


VIEWS: dict[str, type[Event]] = {
    "welcome": AnyUserCreated,
    "order_confirmed": AnyOrderConfirmed,
    "order_rejected": AnyOrderRejected,
    "order_cancelled": AnyOrderCancelled,
}
