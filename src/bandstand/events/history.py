"""What is remembered of events that were not handled at once: failed attempts, ended processes, repairs.

Only failures and repairs write here, so an event that is handled at its first attempt costs nothing. It is bounded:
each replay leaves at most ``KEPT`` entries of an event, and old ones go with the inbox.
"""

from collections.abc import Collection
from typing import Final

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from bandstand.events.clock import after
from bandstand.events.models import DeadLetter, Delivery, HistoryEntry

__all__ = ["KEPT", "History", "stored_text"]

KEPT: Final = 20
_MAX_TEXT: Final = 2000

What = HistoryEntry.What


def stored_text(text: str, limit: int) -> str:
    """The end of ``text`` as every database takes it: without NUL and lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[-limit:]


class History:
    """The history in the database of that alias."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    @property
    def _entries(self) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.using(self._alias)

    def tell(
        self, what: HistoryEntry.What, subscription: str, message_id: str, *, number: int = 0, error: str = ""
    ) -> None:
        """Add what the worker saw: ``number`` is the attempt's."""
        self._add(what, subscription, message_id, number=number, text=stored_text(error, _MAX_TEXT))

    def tell_mended(self, what: HistoryEntry.What, letter: DeadLetter, *, by: str, original: str = "") -> None:
        """Add what somebody did about a dead letter; ``original`` is the data from before an edit, in full."""
        self._add(what, letter.subscription, letter.message_id, text=original, by=by[:150])

    def _add(
        self,
        what: HistoryEntry.What,
        subscription: str,
        message_id: str,
        *,
        number: int = 0,
        text: str = "",
        by: str = "",
    ) -> None:
        self._entries.create(
            subscription=subscription,
            message_id=message_id,
            what=what,
            number=number,
            text=text,
            by=by,
            at=timezone.now(),
        )

    def of(self, message_ids: Collection[str]) -> QuerySet[HistoryEntry]:
        """Return all entries of those events, in order."""
        return self._entries.filter(message_id__in=message_ids).order_by("id")

    def trim(self, subscription: str, message_id: str) -> None:
        """Keep the last ``KEPT`` entries of an event, and what it was before it was edited for the first time."""
        entries = self._entries.filter(subscription=subscription, message_id=message_id)
        original = entries.filter(what=What.EDITED).order_by("id").values_list("id", flat=True).first()
        kept = list(entries.order_by("-id").values_list("id", flat=True)[:KEPT])
        entries.exclude(id__in=[*kept, original or 0]).delete()

    def purge(self, retention: float, limit: int) -> int:
        """Delete at most ``limit`` entries older than ``retention`` seconds of events that are settled."""
        same = {"subscription": OuterRef("subscription"), "message_id": OuterRef("message_id")}
        dead = DeadLetter.objects.using(self._alias).filter(**same)
        waiting = Delivery.objects.using(self._alias).filter(**same)
        old = self._entries.filter(~Exists(dead), ~Exists(waiting), at__lt=after(-retention)).order_by("id")
        deleted, _ = self._entries.filter(id__in=list(old.values_list("id", flat=True)[:limit])).delete()
        return deleted
