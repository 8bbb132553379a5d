"""The outbox as the relay sees it: rows claimed by state, in order for each key.

Claims are short transactions that come one after the other, so that two relays never hold rows of one key; the
sending between them runs side by side and holds no transaction. Queries are written with the ORM, since the same
ones serve PostgreSQL, SQLite and MySQL; times are the database's, so that the clocks of several machines don't matter.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

import msgspec
from django.db import connections, transaction
from django.db.models import Count, ExpressionWrapper, F, Min, Q, QuerySet
from django.db.models.fields import DateTimeField
from django.db.models.functions import Now

from bandstand.events.models import OutboxMessage
from bandstand.events.tables import OUTBOX

__all__ = ["Backlog", "Outbox", "OutboxRow", "after"]

_CLAIMS: Final = 0x62616E6473 + 1  # of PostgreSQL's advisory locks: "bands", 1
_MAX_ERROR: Final = 2000


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event that this process may send, as long as its lease lasts."""

    position: int
    message_id: str
    type: str
    key: str
    body: str
    attempts: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """``pending``: not sent yet; ``parked``: those of them that failed before; ``oldest``: age in seconds."""

    pending: int
    parked: int
    oldest: float


def after(seconds: float) -> "ExpressionWrapper[Any]":
    """The database's time, ``seconds`` from now."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


class Outbox:
    """The outbox in the database of that alias."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @property
    def _rows(self) -> QuerySet[OutboxMessage]:
        return OutboxMessage.objects.using(self._alias)

    @property
    def _waiting(self) -> QuerySet[OutboxMessage]:
        return self._rows.filter(sent_at=None)

    def is_empty(self) -> bool:
        """Say whether nothing could be claimed now; costs one query and no transaction."""
        return not self._waiting.filter(Q(held_until=None) | Q(held_until__lte=Now())).exists()

    def claim(self, limit: int, lease: float) -> list[OutboxRow]:
        """Hold the oldest ``limit`` rows whose keys nobody holds, for ``lease`` seconds, and return them in order."""
        with transaction.atomic(using=self._alias):
            self._take_turn()
            held = self._waiting.filter(held_until__gt=Now()).values("key")
            found = self._waiting.exclude(key__in=held).order_by("id")[:limit]
            claimed = [
                OutboxRow(position=id_, message_id=message_id, type=type_, key=key, body=body, attempts=attempts)
                for id_, message_id, type_, key, body, attempts in found.values_list(
                    "id", "message_id", "type", "key", "body", "attempts"
                )
            ]
            if claimed:
                self._rows.filter(id__in=[row.position for row in claimed]).update(held_until=after(lease))
        return claimed

    def mark_sent(self, rows: Collection[OutboxRow]) -> None:
        """Record that the broker confirmed ``rows``."""
        if rows:
            with transaction.atomic(using=self._alias):
                self._relax()
                self._of(rows).update(sent_at=Now(), held_until=None, error="")

    def release(self, rows: Collection[OutboxRow]) -> None:
        """Let any relay send ``rows`` at once."""
        if rows:
            self._of(rows).filter(sent_at=None).update(held_until=None)

    def park(self, row: OutboxRow, *, delay: float, error: str) -> None:
        """Keep ``row``, and with it its key, from being tried again for ``delay`` seconds."""
        self._of([row]).filter(sent_at=None).update(
            held_until=after(delay), attempts=F("attempts") + 1, error=error[:_MAX_ERROR]
        )

    def purge(self, retention: float, limit: int) -> int:
        """Delete at most ``limit`` rows that were sent more than ``retention`` seconds ago; return how many."""
        old = self._rows.filter(sent_at__lt=after(-retention)).order_by("sent_at").values_list("id", flat=True)[:limit]
        deleted, _ = self._rows.filter(id__in=list(old)).delete()
        return deleted

    def backlog(self) -> Backlog:
        """Count what waits."""
        found = self._waiting.aggregate(
            pending=Count("id"), parked=Count("id", filter=Q(attempts__gt=0)), oldest=Now() - Min("created_at")
        )
        oldest = found["oldest"]
        return Backlog(
            pending=found["pending"],
            parked=found["parked"],
            oldest=max(0.0, oldest.total_seconds()) if oldest is not None else 0.0,
        )

    def _of(self, rows: Collection[OutboxRow]) -> QuerySet[OutboxMessage]:
        return self._rows.filter(id__in=[row.position for row in rows])

    def _take_turn(self) -> None:
        """Wait until no other relay is claiming; the end of the transaction gives the turn on."""
        connection = connections[self._alias]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(%s), set_config('synchronous_commit', 'off', true)", [_CLAIMS]
                )
            else:
                # Nothing changes, but SQLite begins to write (one at a time) and MySQL locks the index.
                cursor.execute(f"UPDATE {OUTBOX} SET attempts = attempts WHERE id = 0")  # noqa: S608 - a constant name

    def _relax(self) -> None:
        """A claim or a mark that a power loss takes back only makes an event travel twice: don't wait for the disk."""
        connection = connections[self._alias]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit = off")
