"""The event, and the handler that writes one row for it."""

import time

from bandstand.events import Event, subscribe
from order_service.models import Receipt


class Line(Event):
    """An item of an order."""

    product_id: str
    quantity: int


class OrderPlaced(Event, type="order.placed", version=1):
    """Somebody ordered something."""

    order_id: str
    user_id: str
    user_email: str
    items: list[Line]
    total_amount: str
    currency: str
    number: int = 0


class Numbered(Event):
    """The consumer's own view."""

    number: int


@subscribe("order.placed", name="receipts")
def write_receipt(event: Numbered) -> None:
    """Write a row."""
    Receipt.objects.create(number=event.number, at=time.time())
