"""Writes down each event that this service could hear of."""

import os
from typing import Any, Final

from witness.models import Sighting

from bandstand.events import Message, subscribe

PATTERNS: Final = {
    "product-service": ("order.*",),
    "order-service": ("stock.*",),
    "notification-service": ("user.*", "order.*", "notification.*"),
}


def note(_event: dict[str, Any], message: Message) -> None:
    """Write a row, whether there is one or not."""
    Sighting.objects.create(event=message.id)


for pattern in PATTERNS.get(os.environ["BANDSTAND_SERVICE"], ()):
    subscribe(pattern, name=f"witness.{pattern.partition('.')[0]}")(note)
