"""What the product service hears of orders, and what it answers."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from bandstand.events import Event, periodic, publish, subscribe

from products import holdings, stock
from products.models import MAX_STOCK, Reservation

Quantity = Annotated[int, msgspec.Meta(ge=1, le=MAX_STOCK)]


class OrderedItem(msgspec.Struct, frozen=True, kw_only=True):
    """How many pieces of which product. An event with fewer than one is a dead letter: it would add to the stock."""

    product_id: UUID
    quantity: Quantity


class OrderPlaced(Event, type="order.placed", version=1):
    """Somebody ordered: what this service needs to know of it."""

    order_id: UUID
    user_id: UUID
    items: Annotated[list[OrderedItem], msgspec.Meta(min_length=1)]


class OrderCancelled(Event, type="order.cancelled", version=1):
    """An order is off."""

    order_id: UUID


class OrderRejected(Event, type="order.rejected", version=1):
    """An order was rejected, for want of stock or because it was pending for too long."""

    order_id: UUID


class StockReserved(Event, type="stock.reserved", version=1):
    """Everything that an order wants is held for it."""

    order_id: UUID


class StockRejected(Event, type="stock.rejected", version=1):
    """An order can't have what it wants; ``reason`` is for the buyer."""

    order_id: UUID
    reason: str


@subscribe("order.placed", source="order-service")
def reserve_stock(order: OrderPlaced) -> None:
    """Hold what the order wants, or say why not. The answer is committed together with the stock."""
    quantities: dict[UUID, int] = {}
    for item in order.items:
        quantities[item.product_id] = quantities.get(item.product_id, 0) + item.quantity
    reservation = stock.reserve(order.order_id, order.user_id, quantities)
    if reservation is None:
        return
    key = str(order.order_id)
    if reservation.state == Reservation.State.HELD:
        publish(StockReserved(order_id=order.order_id), key=key)
    else:
        publish(StockRejected(order_id=order.order_id, reason=reservation.reason), key=key)


@subscribe("order.cancelled", source="order-service")
def release_stock(order: OrderCancelled) -> None:
    """Give back what the order held."""
    stock.release(order.order_id)


@subscribe("order.rejected", source="order-service")
def release_stock_of_rejected(order: OrderRejected) -> None:
    """Give back the stock of an expired order; an order that was rejected for want of stock holds none."""
    stock.release(order.order_id)


@periodic(seconds=3600)
def forget_holdings() -> None:
    """Delete holdings that no longer count."""
    holdings.forget()
