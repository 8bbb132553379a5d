"""The inbox: a row for each event and subscription, in the transaction of the handler, so that effects happen once."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any, Final

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from bandstand import failpoints
from bandstand.events.clock import after, now_sql
from bandstand.events.models import DeadLetter, InboxMessage
from bandstand.events.queries import queries
from bandstand.events.tables import DELIVERIES, INBOX
from bandstand.exceptions import EventError

__all__ = ["Entry", "HandledElsewhere", "Inbox"]

_COLUMNS: Final = "(subscription, message_id, handled_at)"
_PATIENCE: Final = 1  # seconds
_LOCK_NOT_AVAILABLE: Final = "55P03"  # of PostgreSQL
_LOCK_WAIT_TIMEOUT: Final = 1205  # of MySQL, which undoes the statement alone
_UNIQUE: Final = ("subscription", "message_id")


class HandledElsewhere(EventError):
    """Another process holds the event in a transaction that does not end."""

    code = "handled_elsewhere"


class Entry(Enum):
    """What the inbox says to an event."""

    FIRST = "first"
    """Never handled: handle it now, in this transaction."""
    DUPLICATE = "duplicate"
    """Handled already, or given up already."""
    WAITING = "waiting"
    """An older event of its key is being retried, so this one has to wait behind it."""


class Inbox:
    """The inbox in the database of that alias."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def enter(self, subscription: str, message_id: str, key: str) -> Entry:
        """Write the row that says "handled", if it is this event's turn. Call it in the handler's transaction.

        When another process is handling the same event, this waits for the end of its transaction.
        """
        if failpoints.switched_off("consumer.inbox"):
            return Entry.FIRST
        ordered = not failpoints.switched_off("consumer.order")
        if self._insert(subscription, message_id, [subscription, key] if ordered else []):
            return Entry.FIRST
        return Entry.DUPLICATE if self.is_settled(subscription, message_id) else Entry.WAITING

    def enter_together(self, subscription: str, letters: Collection[tuple[str, str]]) -> set[str]:
        """Do the same for many: ``letters`` are ids with their keys. Return the ids of those to be handled now.

        PostgreSQL takes all in one statement.
        """
        if failpoints.switched_off("consumer.inbox"):
            return {message_id for message_id, _ in letters}
        connection: Any = connections[self._alias]
        if connection.vendor != "postgresql":
            return {each for each, key in letters if self.enter(subscription, each, key) is Entry.FIRST}
        ids, keys = zip(*letters, strict=True)
        with connection.cursor() as cursor:
            parameters = {"subscription": subscription, "ids": list(ids), "keys": list(keys)}
            cursor.execute(queries("postgresql")["enter_together"], parameters)
            return {row[0] for row in cursor.fetchall()}

    def enter_again(self, subscription: str, message_id: str) -> bool:
        """Do the same for an event that waited for its turn; say whether it is to be handled.

        Raises:
            HandledElsewhere: another process is at it and does not end, as one that hangs in the handler.
        """
        if failpoints.switched_off("consumer.inbox"):
            return True
        with _impatient(connections[self._alias]):
            try:
                return self._insert(subscription, message_id)
            except OperationalError as error:
                if not _waited_in_vain(error):
                    raise
                raise HandledElsewhere(f"{message_id} is being handled by another process.") from error

    def is_settled(self, subscription: str, message_id: str) -> bool:
        """Say whether the event was handled or given up."""
        same = {"subscription": subscription, "message_id": message_id}
        return (
            InboxMessage.objects.using(self._alias).filter(**same).exists()
            or DeadLetter.objects.using(self._alias).filter(**same).exists()
        )

    def purge(self, retention: float, limit: int) -> int:
        """Delete, among the oldest ``limit`` rows, those older than ``retention`` seconds; return how many.

        Rows get older in the order of their ids, so looking at the first ones is enough and needs no other index.
        """
        rows = InboxMessage.objects.using(self._alias)
        oldest = rows.order_by("id").values_list("id", flat=True)[:limit]
        deleted, _ = rows.filter(id__in=list(oldest), handled_at__lt=after(-retention)).delete()
        return deleted

    def _insert(self, subscription: str, message_id: str, behind: Sequence[str] = ()) -> bool:
        """Write the row unless it is there, or a delivery of the subscription and key that ``behind`` names."""
        connection = connections[self._alias]
        statement = _statement(self._alias, connection.vendor, ordered=bool(behind))
        values = [subscription, message_id, *behind]
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return bool(cursor.rowcount == 1)


@cache
def _statement(alias: str, vendor: str, *, ordered: bool) -> str:
    connection = connections[alias]
    operations = connection.ops
    insert = f"{operations.insert_statement(on_conflict=OnConflict.IGNORE)} {INBOX} {_COLUMNS}"
    nothing = "FROM DUAL" if vendor == "mysql" else ""
    same = f"subscription = %s AND {operations.quote_name('key')} = %s"
    condition = f"NOT EXISTS (SELECT 1 FROM {DELIVERIES} WHERE {same})" if ordered else "1 = 1"  # noqa: S608 - constant names
    ignore = operations.on_conflict_suffix_sql([], OnConflict.IGNORE, [], _UNIQUE)
    return f"{insert} SELECT %s, %s, {now_sql(connection)} {nothing} WHERE {condition} {ignore}"


@contextmanager
def _impatient(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Statements wait at most a second for others; those of the handler, later, have their own limits."""
    if connection.vendor not in {"postgresql", "mysql"}:
        yield
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}s'")
            yield
            cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
        else:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            (usual,) = cursor.fetchone()
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [_PATIENCE])
            try:
                yield
            finally:
                cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [usual])


def _waited_in_vain(error: OperationalError) -> bool:
    codes = {getattr(error.__cause__, "sqlstate", None), *error.args[:1]}
    return not codes.isdisjoint({_LOCK_NOT_AVAILABLE, _LOCK_WAIT_TIMEOUT})
