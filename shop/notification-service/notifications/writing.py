"""What the mails say. Texts of other services are values in them and nothing else: one line, and never a link."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Final, NamedTuple

LONGEST_NAME: Final = 50  # characters
LONGEST_REASON: Final = 500  # characters


class Text(NamedTuple):
    """A subject, which is one line, and a body."""

    subject: str
    body: str


def welcome(*names: str) -> Text:
    """Greet somebody who registered, by the first of ``names`` that is one.

    Nobody has shown yet that the address is theirs. So the mail has no word that a stranger could have chosen to
    advertise or to deceive: what has anything but letters in it is not taken for a name.
    """
    name = next((name for name in names if _is_name(name)), "")
    greeting = f"Hello {name}," if name else "Hello,"
    body = f"{greeting}\n\nyour account is ready. If you did not register, you can ignore this mail.\n"
    return Text("Welcome to the shop", body)


def order_confirmed(order_id: str, total_amount: Decimal, currency: str) -> Text:
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


def _is_name(text: str) -> bool:
    """Say whether ``text`` is letters of any script, with single spaces, hyphens and apostrophes between them."""
    words = text.replace("-", " ").replace("'", " ").replace("’", " ").split(" ")
    return len(text) <= LONGEST_NAME and all(word and _is_word(word) for word in words)


def _is_word(text: str) -> bool:
    return all(unicodedata.category(character)[0] in "LM" for character in text)


def _line(text: str) -> str:
    """Return ``text`` on one line, without what can't be seen, and not longer than it may be."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(visible.split())[:LONGEST_REASON]
