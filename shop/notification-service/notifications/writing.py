"""What the mails say. Texts of other services are values in them and nothing else."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """A subject, which is one line, and a body."""

    subject: str
    body: str


def welcome(first_name: str, username: str) -> Text:
    """Greet somebody who registered."""
    return Text("Welcome to the shop", f"Hello {_line(first_name or username)},\n\nyour account is ready. Enjoy!\n")


def order_confirmed(order_id: str, total_amount: str, currency: str) -> Text:
    """Say that an order stands."""
    body = f"Your order {order_id} over {total_amount} {currency} is confirmed. We are packing it.\n"
    return Text(f"Your order {order_id[:8]} is confirmed", body)


def order_rejected(order_id: str, reason: str) -> Text:
    """Say why an order can't be had."""
    body = f"We are sorry: your order {order_id} can't be delivered.\n\n{_line(reason)}\n\nNothing was charged.\n"
    return Text(f"Your order {order_id[:8]} can't be delivered", body)


def order_cancelled(order_id: str) -> Text:
    """Say that an order is off."""
    return Text(f"Your order {order_id[:8]} is cancelled", f"Your order {order_id} is cancelled, as you asked.\n")


def _line(text: str) -> str:
    return " ".join(text.split())
