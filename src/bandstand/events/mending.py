"""What people ask and do when something is stuck: the status, and dead letters listed, replayed and dropped."""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.db import connections, transaction
from django.db.models import Count, ExpressionWrapper, Min, Q, QuerySet
from django.db.models.fields import DurationField
from django.db.models.functions import Now

from bandstand.events.deliveries import Deliveries
from bandstand.events.models import DeadLetter, Delivery
from bandstand.events.outbox import Backlog, open_outbox
from bandstand.events.subscriptions import Registry
from bandstand.events.wakeup import notify

__all__ = ["Mending", "Status", "SubscriptionStatus"]


class SubscriptionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``waiting`` for a next attempt or behind another event, ``running`` again now, ``dead`` letters.

    ``known`` is False when no handler subscribes by that name any more, so nothing of it moves.
    """

    name: str
    pattern: str
    known: bool
    waiting: int = 0
    running: int = 0
    dead: int = 0
    oldest: float = 0.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where events are now."""

    outbox: Backlog
    subscriptions: tuple[SubscriptionStatus, ...]


class Mending:
    """Questions and repairs on the database of that alias."""

    def __init__(self, alias: str, registry: Registry) -> None:
        self._alias = alias
        self._registry = registry

    def status(self) -> Status:
        """Count what is where."""
        patterns = {each.name: each.pattern for each in self._registry}
        waiting, dead = self._waiting(), self._dead()
        return Status(
            outbox=open_outbox(self._alias).backlog(),
            subscriptions=tuple(
                SubscriptionStatus(
                    name=name,
                    pattern=patterns.get(name, ""),
                    known=name in patterns,
                    dead=dead.get(name, 0),
                    **waiting.get(name, {}),
                )
                for name in sorted({*patterns, *waiting, *dead})
            ),
        )

    def _waiting(self) -> dict[str, dict[str, Any]]:
        age = ExpressionWrapper(Now() - Min("created_at"), output_field=DurationField())
        running = Count("id", filter=Q(running=True))
        rows = (
            Delivery.objects.using(self._alias)
            .values_list("subscription")
            .annotate(total=Count("id"), now=running, age=age)
        )
        return {
            name: {"waiting": total - now, "running": now, "oldest": max(0.0, oldest.total_seconds())}
            for name, total, now, oldest in rows
        }

    def _dead(self) -> dict[str, int]:
        return dict(DeadLetter.objects.using(self._alias).values_list("subscription").annotate(count=Count("id")))

    def dead_letters(
        self, *, subscription: str = "", event_type: str = "", ids: Iterable[int] = ()
    ) -> QuerySet[DeadLetter]:
        """Return dead letters, the newest first: all, or those that fit all conditions given."""
        found = DeadLetter.objects.using(self._alias).order_by("-died_at", "-id")
        if subscription:
            found = found.filter(subscription=subscription)
        if event_type:
            found = found.filter(type=event_type)
        numbers = list(ids)
        return found.filter(id__in=numbers) if numbers else found

    def replay(self, letters: Iterable[DeadLetter]) -> tuple[int, list[DeadLetter]]:
        """Give ``letters`` all their attempts again; return how many, and those that no handler could ever read."""
        deliveries, replayed, unreadable = Deliveries(self._alias), 0, []
        for letter in letters:
            try:
                with transaction.atomic(using=self._alias):
                    deliveries.replay(letter)
                replayed += 1
            except UnicodeDecodeError:
                unreadable.append(letter)
        notify(connections[self._alias], "deliveries")
        return replayed, unreadable

    def drop(self, letters: QuerySet[DeadLetter]) -> int:
        """Delete ``letters`` for ever; return how many."""
        return letters.order_by().delete()[0]
