"""Holding stock for orders, and giving it back. Call these in a transaction: a handler's own is one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.db import transaction

from products import holdings
from products.holdings import TooMany
from products.models import Product, Reservation, ReservedItem, move_stock


class OutOfStock(Exception):
    """There is less of something than an order wants; the text is for the buyer."""


def reserve(order_id: uuid.UUID, customer_id: uuid.UUID, quantities: Mapping[uuid.UUID, int]) -> Reservation | None:
    """Decide about an order: hold all that it wants, or reject it with a reason. ``None`` if that was decided before.

    The reservation's row comes first. Whoever else decides about the same order at this moment waits for it, so
    there is one decision, and what comes of a rejected order is nothing but its row.
    """
    reservation, is_new = Reservation.objects.get_or_create(
        order_id=order_id, defaults={"state": Reservation.State.HELD, "customer_id": customer_id}
    )
    if not is_new:
        return None
    try:
        with transaction.atomic():
            _take(quantities)
            holdings.take(customer_id, quantities, reservation.created_at)
    except (OutOfStock, TooMany) as refusal:
        reservation.state, reservation.reason = Reservation.State.REJECTED, str(refusal)
        reservation.save(update_fields=["state", "reason", "updated_at"])
        return reservation
    ReservedItem.objects.bulk_create(
        ReservedItem(reservation=reservation, product_id=product_id, quantity=quantity)
        for product_id, quantity in quantities.items()
    )
    return reservation


def release(order_id: uuid.UUID) -> None:
    """Give back what an order holds. An order that is not known yet will get nothing any more; twice is once."""
    reservation, is_new = Reservation.objects.select_for_update().get_or_create(
        order_id=order_id, defaults={"state": Reservation.State.RELEASED}
    )
    if is_new or reservation.state != Reservation.State.HELD:
        return
    for item in reservation.items.order_by("product_id"):
        if not move_stock(item.product_id, item.quantity):
            raise OverflowError(f"The stock of product {item.product_id} can't take back {item.quantity} pieces.")
        if reservation.customer_id is not None:
            holdings.give_back(reservation.customer_id, item, reservation.created_at)
    reservation.state = Reservation.State.RELEASED
    reservation.save(update_fields=["state", "updated_at"])


def _take(quantities: Mapping[uuid.UUID, int]) -> None:
    # Always in the same order: two orders with the same products wait for each other and never dead-lock.
    for product_id in sorted(quantities):
        if not move_stock(product_id, -quantities[product_id]):
            raise OutOfStock(_shortage(product_id))


def _shortage(product_id: uuid.UUID) -> str:
    known = Product.objects.filter(pk=product_id).values_list("name", "inventory_count").first()
    if known is None:
        return f"The product {product_id} is not sold any more."
    name, count = known
    return f"{name}: only {count} left." if count else f"{name} is out of stock."
