"""Reads what the databases and the mail folder hold into the accounting's values."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.chaos.ledger import Dead, Event, Note, Order, Seen, Tables
from tests.chaos.platform import WITNESSED

__all__ = ["read_tables", "still_open"]

OUTBOX: Final = "SELECT message_id, type, key, sent_at IS NOT NULL FROM bandstand_outbox"
UNSENT: Final = "SELECT count(*) FROM bandstand_outbox WHERE sent_at IS NULL"
WAITING: Final = "SELECT count(*) FROM bandstand_delivery"
DEAD: Final = "SELECT subscription, message_id, reason FROM bandstand_dead_letter"
WITNESS: Final = "SELECT event FROM witness"
USERS: Final = "SELECT id, email FROM users_user WHERE email LIKE %s"
ORDERS: Final = """
    SELECT o.id, o.user_id, o.status, array_agg(i.product_id::text ORDER BY i.position),
           array_agg(i.quantity ORDER BY i.position)
    FROM orders_order o JOIN orders_orderitem i ON i.order_id = o.id GROUP BY o.id"""
PENDING: Final = "SELECT count(*) FROM orders_order WHERE status = 'pending'"
RESERVATIONS: Final = "SELECT order_id, state FROM products_reservation"
STOCK: Final = "SELECT id, inventory_count FROM products_product"
NOTES: Final = "SELECT event_id, kind, status = 'sent' FROM notifications_notification"
QUEUED: Final = "SELECT count(*) FROM notifications_notification WHERE status = 'queued'"
MESSAGE_ID: Final = re.compile(r"^Message-ID: <([0-9a-f-]{36})\.([a-z_]+)@", re.MULTILINE)


def read_tables(
    databases: Mapping[str, str], mails: Path, *, seeded: Mapping[str, int], domain: str, poison: frozenset[str]
) -> Tables:
    """Return what there is; of the users those with an address in ``domain``, of the products those ``seeded``."""
    stock = dict(_rows(databases, "product-service", STOCK))
    return Tables(
        users=dict(_rows(databases, "user-service", USERS, f"%@{domain}")),
        orders=tuple(_order(*row) for row in _rows(databases, "order-service", ORDERS)),
        reservations=dict(_rows(databases, "product-service", RESERVATIONS)),
        stock={product: (count, stock[product]) for product, count in seeded.items()},
        notes=tuple(
            Note(event=event, kind=kind, sent=sent)
            for event, kind, sent in _rows(databases, "notification-service", NOTES)
        ),
        mails=frozenset(
            (event, kind)
            for path in mails.iterdir()
            for event, kind in MESSAGE_ID.findall(path.read_text(errors="replace"))
        ),
        events=tuple(
            Event(id=event, type=type_, key=key, sent=sent)
            for service in databases
            for event, type_, key, sent in _rows(databases, service, OUTBOX)
        ),
        seen=tuple(
            Seen(service=service, event=event)
            for service in WITNESSED
            for (event,) in _rows(databases, service, WITNESS)
        ),
        waiting=_total(databases, WAITING),
        dead=tuple(
            Dead(service=service, subscription=subscription, event=event, reason=reason)
            for service in databases
            for subscription, event, reason in _rows(databases, service, DEAD)
        ),
        poison=poison,
    )


def still_open(databases: Mapping[str, str]) -> str:
    """Return what the databases say is not done yet, or that they do not answer; "" when all is done."""
    try:
        counts = {
            "unsent": _total(databases, UNSENT),
            "waiting": _total(databases, WAITING),
            "pending": _rows(databases, "order-service", PENDING)[0][0],
            "queued": _rows(databases, "notification-service", QUEUED)[0][0],
        }
    except psycopg.OperationalError as error:
        return f"the database does not answer: {error}"
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _order(order: Any, user: Any, status: str, products: list[str], quantities: list[int]) -> Order:
    return Order(
        id=order,
        key=f"{user}:{quantities[0]}",
        status=status,
        items=dict(zip(products, quantities, strict=True)),
    )


def _total(databases: Mapping[str, str], query: str) -> int:
    return sum(_rows(databases, service, query)[0][0] for service in databases)


def _rows(databases: Mapping[str, str], service: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows, with ids as text as the JSON answers have them."""
    with psycopg.connect(databases[service], connect_timeout=5) as connection:
        rows = connection.execute(query, parameters or None).fetchall()
    return [tuple(str(value) if isinstance(value, UUID) else value for value in row) for row in rows]
