"""The changes of an order. Each is committed together with the event that tells of it."""

from __future__ import annotations

from django.db import transaction

from orders import events
from orders.buying import Quote
from orders.models import Order, OrderItem


def place(quote: Quote) -> Order:
    """Write a pending order and announce it."""
    with transaction.atomic():
        order = Order.objects.create(
            user_id=quote.buyer.id, user_email=quote.buyer.email, total_amount=quote.total, currency=quote.currency
        )
        OrderItem.objects.bulk_create(
            OrderItem(
                order=order,
                position=position,
                product_id=product.id,
                name=product.name,
                unit_price=product.price,
                quantity=quantity,
            )
            for position, (product, quantity) in enumerate(quote.lines)
        )
        events.announce_placed(order)
    return order


def cancel(order: Order) -> bool:
    """Cancel an order that is pending or confirmed; return False when it is neither by now. Twice is once."""
    with transaction.atomic():
        if order.move(Order.Status.PENDING, Order.Status.CONFIRMED, to=Order.Status.CANCELLED):
            events.announce_cancelled(order)
            return True
    order.refresh_from_db(fields=["status", "reason", "updated_at"])
    return order.status == Order.Status.CANCELLED
