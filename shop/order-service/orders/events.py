"""The events that the order service publishes and handles, and the periodic rejection of overdue orders.

The types of the published events are its promise: `bandstand contracts check` holds the readers' views against them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from bandstand.api import end_sign_in
from bandstand.events import Event, periodic, publish, subscribe
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from orders.models import MAX_ITEMS, MAX_QUANTITY, Order

EXPIRED = "The stock could not be confirmed in time. Nothing is held for this order any more."
MAX_EXPIRED = 500  # orders at a time

Address = Annotated[str, msgspec.Meta(max_length=254, pattern=r"\A[^\s\x00-\x1f\x7f@]+@[^\s\x00-\x1f\x7f@]+\Z")]
Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]


class OrderedItem(msgspec.Struct, frozen=True, kw_only=True):
    """How many pieces of which product."""

    product_id: UUID
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]


class OrderPlaced(Event, type="order.placed", version=1):
    """Somebody ordered; nothing is held for it yet."""

    order_id: UUID
    user_id: UUID
    user_email: Address
    items: Annotated[list[OrderedItem], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
    total_amount: Decimal
    currency: Currency


class OrderConfirmed(Event, type="order.confirmed", version=1):
    """The stock is held, the order stands."""

    order_id: UUID
    user_id: UUID
    user_email: Address
    total_amount: Decimal
    currency: Currency


class OrderRejected(Event, type="order.rejected", version=1):
    """The order can't be had; ``reason`` is for the buyer."""

    order_id: UUID
    user_id: UUID
    user_email: Address
    reason: str


class OrderCancelled(Event, type="order.cancelled", version=1):
    """The buyer does not want it any more."""

    order_id: UUID
    user_id: UUID
    user_email: Address


class StockReserved(Event, type="stock.reserved", version=1):
    """Everything that an order wants is held for it."""

    order_id: UUID


class StockRejected(Event, type="stock.rejected", version=1):
    """An order can't have what it wants."""

    order_id: UUID
    reason: str


class SessionEnded(Event, type="session.ended", version=1):
    """A sign-in has ended."""

    session_id: UUID


def announce_placed(order: Order) -> None:
    """Publish that ``order`` is new."""
    items = [OrderedItem(product_id=item.product_id, quantity=item.quantity) for item in order.items.all()]
    publish(OrderPlaced(**_subject(order), **_amount(order), items=items), key=str(order.pk))


def announce_cancelled(order: Order) -> None:
    """Publish that ``order`` is off."""
    publish(OrderCancelled(**_subject(order)), key=str(order.pk))


def announce_rejected(order: Order) -> None:
    """Publish that ``order`` was rejected."""
    publish(OrderRejected(**_subject(order), reason=order.reason), key=str(order.pk))


@subscribe("stock.reserved", source="product-service")
def confirm(event: StockReserved) -> None:
    """Confirm the order, unless it was cancelled or has expired: that event gives the stock back."""
    order = Order.objects.get(pk=event.order_id)
    if order.move(Order.Status.PENDING, to=Order.Status.CONFIRMED):
        publish(OrderConfirmed(**_subject(order), **_amount(order)), key=str(order.pk))


@subscribe("stock.rejected", source="product-service")
def reject(event: StockRejected) -> None:
    """Reject the order, unless it was cancelled meanwhile."""
    order = Order.objects.get(pk=event.order_id)
    if order.move(Order.Status.PENDING, to=Order.Status.REJECTED, reason=event.reason):
        announce_rejected(order)


@periodic(seconds=60)
def expire_orders() -> None:
    """Reject orders that have been pending for too long, the oldest first, so that they hold no stock for ever.

    The product service gives back their stock when it receives the event. A confirmation at the same time either finds
    the order rejected, or comes first and leaves nothing to reject.
    """
    overdue = Order.objects.filter(
        status=Order.Status.PENDING, created_at__lt=timezone.now() - settings.PENDING_LIFETIME
    ).order_by("created_at")
    for order in overdue[:MAX_EXPIRED]:
        with transaction.atomic():
            if order.move(Order.Status.PENDING, to=Order.Status.REJECTED, reason=EXPIRED):
                announce_rejected(order)


@subscribe("session.ended", source="user-service")
def end_session(event: SessionEnded) -> None:
    """Refuse new orders with the tokens of a sign-in that has ended."""
    end_sign_in(str(event.session_id))


def _subject(order: Order) -> dict[str, Any]:
    return {"order_id": order.pk, "user_id": order.user_id, "user_email": order.user_email}


def _amount(order: Order) -> dict[str, Any]:
    return {"total_amount": order.total_amount, "currency": order.currency}
