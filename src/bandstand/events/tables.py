"""The names of the tables, for SQL of our own; the models are in ``models``, which the front door can't import."""

from typing import Final

OUTBOX: Final = "bandstand_outbox"
INBOX: Final = "bandstand_inbox"
DELIVERIES: Final = "bandstand_delivery"
DEAD_LETTERS: Final = "bandstand_dead_letter"
HISTORY: Final = "bandstand_history"
