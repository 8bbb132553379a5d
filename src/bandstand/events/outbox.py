"""The outbox as the relay sees it: rows claimed by state, in order for each key.

Claims are short transactions that come one after the other, so that two relays never hold rows of one key; the
sending between them runs side by side and holds no transaction. Times are the database's, so that the clocks of
several machines don't matter. Queries are the ORM's, so that they serve every database, except for the two that each
event passes on PostgreSQL.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any, Final
from zlib import crc32

import msgspec
from django.db import OperationalError, connections, transaction
from django.db.models import Count, ExpressionWrapper, F, Q, QuerySet
from django.db.models.fields import DurationField

from bandstand import failpoints
from bandstand.events.clock import Now, after
from bandstand.events.models import OutboxMessage
from bandstand.events.queries import queries
from bandstand.events.tables import OUTBOX

__all__ = ["Backlog", "Outbox", "OutboxRow", "open_outbox"]

_TURN: Final = 0x62616E6473_0001  # of PostgreSQL's advisory locks: "bands", 1
_COLUMNS: Final = ("id", "message_id", "type", "key", "body", "attempts")
_MAX_ERROR: Final = 2000
_PATIENCE: Final = 5  # seconds that a claim waits for others, each of which takes milliseconds


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event that this process may send, as long as its lease lasts."""

    position: int
    message_id: str
    type: str
    key: str
    body: str
    attempts: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """``pending``: not sent yet; ``in_flight``: those of them that a relay is sending now, for the first time;
    ``parked``: those that failed before, of ``parked_keys`` keys; ``oldest``: age in seconds.
    """

    pending: int
    in_flight: int
    parked: int
    parked_keys: int
    oldest: float


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

    def claim(self, limit: int, lease: float) -> list[OutboxRow]:
        """Hold the oldest ``limit`` rows whose keys nobody holds, for ``lease`` seconds, and return them in order."""
        if not self._waiting.filter(Q(held_until=None) | Q(held_until__lte=Now())).exists():
            return []
        with self._turn(), transaction.atomic(using=self._alias):
            self._begin_to_write()
            held = self._waiting.filter(held_until__gt=Now()).values("key")
            found = self._waiting.exclude(key__in=held).order_by("id").values_list(*_COLUMNS)[:limit]
            claimed = [_row(columns) for columns in found]
            self._of(claimed).update(held_until=after(lease))
        return claimed

    def waits(self) -> bool:
        """Whether anything waits, be it held or not."""
        return self._waiting.exists()

    def mark_sent(self, rows: Collection[OutboxRow]) -> None:
        """Record that the broker confirmed ``rows``."""
        if rows:
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

    def oldest_age(self) -> float:
        """Return the age in seconds of the oldest row that waits, 0 when none does; cheap however many there are."""
        age = ExpressionWrapper(Now() - F("created_at"), output_field=DurationField())
        oldest = self._waiting.order_by("id").annotate(age=age).values_list("age", flat=True).first()
        return 0.0 if oldest is None else max(0.0, oldest.total_seconds())

    def backlog(self) -> Backlog:
        """Count what waits."""
        parked = Q(attempts__gt=0)
        found = self._waiting.aggregate(
            pending=Count("id"),
            in_flight=Count("id", filter=Q(attempts=0, held_until__gt=Now())),
            parked=Count("id", filter=parked),
            parked_keys=Count("key", filter=parked, distinct=True),
        )
        return Backlog(**found, oldest=self.oldest_age())

    def sent(self) -> int:
        """Count the rows that were sent and are still kept; reads through an index of all of them."""
        return self._rows.filter(sent_at__isnull=False).count()

    def _of(self, rows: Collection[OutboxRow]) -> QuerySet[OutboxMessage]:
        return self._rows.filter(id__in=[row.position for row in rows])

    def _turn(self) -> AbstractContextManager[object]:
        """While it lasts, no other claim begins."""
        return nullcontext()

    def _begin_to_write(self) -> None:
        """Nothing changes, but SQLite begins to write, one at a time."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute(f"UPDATE {OUTBOX} SET attempts = attempts WHERE id = 0")  # noqa: S608 - a constant name


class MySqlOutbox(Outbox):
    """The same on MySQL and MariaDB, where a lock of the server's makes claims come one after the other.

    It belongs to the session, so it is free when the process dies, and it is let go after the commit only.
    """

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if failpoints.switched_off("outbox.turn"):
            yield
            return
        connection = connections[self._alias]
        name = f"bandstand_outbox_{crc32(str(connection.settings_dict['NAME']).encode()):x}"  # locks are the server's
        with connection.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, %s)", [name, _PATIENCE])
            if cursor.fetchone() != (1,):
                raise OperationalError(f"Another relay has held the lock {name} for {_PATIENCE} seconds.")
            try:
                yield
            finally:
                cursor.execute("SELECT RELEASE_LOCK(%s)", [name])

    def _begin_to_write(self) -> None:
        """The turn is enough."""


class PostgresOutbox(Outbox):
    """The same with what PostgreSQL can do; see ``sql/postgresql.sql``."""

    def claim(self, limit: int, lease: float) -> list[OutboxRow]:
        turn = get_ident() if failpoints.switched_off("outbox.turn") else _TURN
        with self._run("claim", {"turn": turn, "lease": lease, "limit": limit}) as cursor:
            cursor.nextset()
            return sorted((_row(columns) for columns in cursor.fetchall()), key=lambda row: row.position)

    def mark_sent(self, rows: Collection[OutboxRow]) -> None:
        if rows:
            self._run("mark_sent", {"ids": [row.position for row in rows]}).close()

    def _run(self, name: str, parameters: dict[str, Any]) -> Any:
        connection: Any = connections[self._alias]
        cursor = connection.cursor()
        # Composed here, because a message with several statements can't have parameters bound by the server.
        cursor.execute(connection.ops.compose_sql(queries("postgresql")[name], parameters))
        return cursor


def open_outbox(alias: str) -> Outbox:
    """Return the outbox in the database of that alias."""
    kinds = {"postgresql": PostgresOutbox, "mysql": MySqlOutbox}
    return kinds.get(connections[alias].vendor, Outbox)(alias)


def _row(columns: Sequence[Any]) -> OutboxRow:
    position, message_id, type_, key, body, attempts = columns
    return OutboxRow(position=position, message_id=message_id, type=type_, key=key, body=body, attempts=attempts)
