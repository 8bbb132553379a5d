"""What the notification service hears, and whom it tells.

A mail can't be taken back, so it is no part of a transaction. Two handlers make one of it: the first writes the
notification in its own transaction and publishes ``notification.queued`` with it; the second, of that event, sends the
mail. A crash between the two loses nothing, since the event is committed with the row. A crash in the second, after
the mail server took the mail and before that was noted, sends it again: at least once, never lost. Both mails then have
the same Message-ID, made from the event, by which mail programs show them as one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from bandstand.events import Event, Message, publish, publishes, subscribe

from notifications import mail, writing
from notifications.models import Notification

# What is no address would fail at each attempt to send it. Like this it is a dead letter at once.
Address = Annotated[str, msgspec.Meta(max_length=254, pattern=r"\A[^\s\x00-\x1f\x7f@]+@[^\s\x00-\x1f\x7f@]+\Z")]
Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]


class UserCreated(Event, type="user.created", version=1):
    """Somebody registered."""

    user_id: UUID
    email: Address
    username: str
    first_name: str = ""


class OrderConfirmed(Event, type="order.confirmed", version=1):
    """An order stands."""

    order_id: UUID
    user_id: UUID
    user_email: Address
    total_amount: Decimal
    currency: Currency


class OrderRejected(Event, type="order.rejected", version=1):
    """An order can't be had."""

    order_id: UUID
    user_id: UUID
    user_email: Address
    reason: str


class OrderCancelled(Event, type="order.cancelled", version=1):
    """An order is off."""

    order_id: UUID
    user_id: UUID
    user_email: Address


@publishes
class NotificationQueued(Event, type="notification.queued", version=1):
    """A notification is written and waits to be sent."""

    notification_id: UUID


@subscribe("user.created", source="user-service")
def greet(event: UserCreated, message: Message) -> None:
    """Welcome who registered."""
    text = writing.welcome(event.first_name, event.username)
    _queue(message, Notification.Kind.WELCOME, event.user_id, event.email, text)


@subscribe("order.confirmed", source="order-service")
def tell_confirmed(event: OrderConfirmed, message: Message) -> None:
    """Tell the buyer that the order stands."""
    text = writing.order_confirmed(str(event.order_id), event.total_amount, event.currency)
    _queue(message, Notification.Kind.ORDER_CONFIRMED, event.user_id, event.user_email, text)


@subscribe("order.rejected", source="order-service")
def tell_rejected(event: OrderRejected, message: Message) -> None:
    """Tell the buyer why there is no order."""
    text = writing.order_rejected(str(event.order_id), event.reason)
    _queue(message, Notification.Kind.ORDER_REJECTED, event.user_id, event.user_email, text)


@subscribe("order.cancelled", source="order-service")
def tell_cancelled(event: OrderCancelled, message: Message) -> None:
    """Tell the buyer that the order is off."""
    text = writing.order_cancelled(str(event.order_id))
    _queue(message, Notification.Kind.ORDER_CANCELLED, event.user_id, event.user_email, text)


@subscribe("notification.queued", source="notification-service")
def send(event: NotificationQueued) -> None:
    """Send what was written. A mail server that is down is a failure like any other: retried, then a dead letter."""
    mail.send(event.notification_id)


def _queue(message: Message, kind: str, user_id: UUID, recipient: str, text: writing.Text) -> None:
    """Write a notification and announce it, unless the event has one already."""
    notification, is_new = Notification.objects.get_or_create(
        event_id=message.id,
        kind=kind,
        defaults={"user_id": user_id, "recipient": recipient, "subject": text.subject, "body": text.body},
    )
    if is_new:
        publish(NotificationQueued(notification_id=notification.pk), key=str(user_id))
