"""The event, and the handlers that write one row for it."""

import os
import time
from collections.abc import Callable

from django.db import connection

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


def write_with_orm(event: Numbered) -> None:
    """Write a row as most handlers do."""
    Receipt.objects.create(number=event.number, at=time.time())


def write_with_sql(event: Numbered) -> None:
    """Write the row with a statement, so that little but the consumer's own work is measured."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_receipt (number, at) VALUES (%s, %s)", [event.number, time.time()])


def write_together(events: list[Numbered]) -> None:
    """Write the rows of a batch."""
    now = time.time()
    Receipt.objects.bulk_create(Receipt(number=event.number, at=now) for event in events)


def write_nothing(event: Numbered) -> None:
    """Do nothing: what is left is the consumer's own transaction with the inbox row."""
    del event


HANDLERS: dict[str, Callable[..., None]] = {
    "orm": write_with_orm,
    "sql": write_with_sql,
    "batch": write_together,
    "least": write_nothing,
}
HANDLER = os.environ.get("BENCH_HANDLER", "orm")
"""Which of them this worker has. Each has a subscription of its own, so each gets all events."""

subscribe("order.placed", name=f"receipts.{HANDLER}", batch=50 if HANDLER == "batch" else None)(HANDLERS[HANDLER])
