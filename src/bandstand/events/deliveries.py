"""Events that wait in this service's database: for their next attempt, or behind an older event of their key.

The count of attempts lives here, so it survives restarts and is the same on every broker. A process that holds a row
renews its lease; when it stops to, another takes the row and counts a death.

With a process die all events that it had in hand, nearly all of them innocent. So the first death of an event says
little, and it is handled beside others again. From the second on it is a suspect, handled one at a time: the next
death is its own doing.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from django.db import connections, transaction
from django.db.models import Case, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value, When
from django.db.models.fields import DurationField
from django.utils import timezone

from bandstand import failpoints
from bandstand.context import is_correlation_id
from bandstand.events import metrics
from bandstand.events.clock import Now, after
from bandstand.events.envelope import Message
from bandstand.events.history import History, What, stored_text
from bandstand.events.models import DeadLetter, Delivery

__all__ = ["Deliveries", "DeliveryRow", "Letter"]

_MAX_ERROR: Final = 8000
_SUSPECT_FROM: Final = 2  # deaths


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event that this process may handle, as long as it renews its lease. Counts are those before this attempt."""

    position: int
    subscription: str
    message_id: str
    key: str
    body: bytes
    attempts: int
    deaths: int


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """An event for a subscription, with what is known of it; a message that can't be read has only id and body."""

    subscription: str
    message_id: str
    body: bytes
    type: str = ""
    source: str = ""
    key: str = ""
    correlation_id: str = ""

    @classmethod
    def of(cls, subscription: str, message: Message, body: bytes) -> "Letter":
        """Return the letter for an event that could be read."""
        return cls(
            subscription=subscription,
            message_id=message.id,
            body=body,
            type=message.type,
            source=message.source,
            key=lane_key(message),
            correlation_id=message.correlation_id if is_correlation_id(message.correlation_id) else "",
        )

    @classmethod
    def again(cls, dead: DeadLetter) -> "Letter":
        """Return what became a dead letter, to be handled anew."""
        return cls(
            subscription=dead.subscription,
            message_id=dead.message_id,
            body=bytes(dead.body),
            type=dead.type,
            source=dead.source,
            key=dead.key or dead.message_id,
            correlation_id=dead.correlation_id,
        )


def lane_key(message: Message) -> str:
    """What the event is ordered by. One without a key is ordered by nothing but itself."""
    return message.key or message.id


class Deliveries:
    """The waiting events and the dead letters in the database of that alias."""

    def __init__(self, alias: str, *, max_deaths: int = 5) -> None:
        self._alias = alias
        self._history = History(alias)
        # Whatever the limit, nothing may reach it by deaths that it shared with others.
        self._suspect_from = max(1, min(_SUSPECT_FROM, max_deaths - 1))

    @property
    def _rows(self) -> QuerySet[Delivery]:
        return Delivery.objects.using(self._alias)

    def _due(self, subscriptions: Collection[str]) -> QuerySet[Delivery]:
        """Rows whose turn it is, due now or later: the oldest of each key."""
        older = self._rows.filter(subscription=OuterRef("subscription"), key=OuterRef("key"), id__lt=OuterRef("id"))
        return self._rows.filter(~Exists(older), subscription__in=subscriptions).order_by("due_at")

    def _suspicious(self) -> Q:
        """Rows over which enough processes ended. One that is held when it is due has ended one more."""
        if failpoints.switched_off("consumer.isolation"):
            return Q(pk__in=[])
        return Q(deaths__gte=self._suspect_from) | Q(deaths=self._suspect_from - 1, running=True)

    def take_over(self, letter: Letter, *, attempts: int, deaths: int, delay: float, error: str = "") -> None:
        """Keep ``letter`` from now on, so that the broker can forget it; due in ``delay`` seconds. Once is enough."""
        delivery = Delivery(
            **_columns(letter),
            body=letter.body.decode(),
            attempts=attempts,
            deaths=deaths,
            due_at=after(delay),
            error=stored_text(error, _MAX_ERROR),
            created_at=timezone.now(),
        )
        with transaction.atomic(using=self._alias):
            if (attempts or deaths) and not self._of(letter.subscription, letter.message_id).exists():
                what = What.FAILED if attempts else What.DIED
                self._history.tell(what, letter.subscription, letter.message_id, number=1, error=error)
            self._rows.bulk_create([delivery], ignore_conflicts=True)

    def claim(self, subscriptions: Collection[str], limit: int, lease: float, *, suspects: bool) -> list[DeliveryRow]:
        """Hold at most ``limit`` rows that are due, for ``lease`` seconds, and return them.

        ``suspects`` chooses between rows that are to be handled one at a time and all others. A row whose lease ran out
        is one more death.
        """
        features = connections[self._alias].features
        with transaction.atomic(using=self._alias):
            suspicious = self._suspicious()
            found = self._due(subscriptions).filter(suspicious if suspects else ~suspicious, due_at__lte=Now())
            if features.has_select_for_update:
                found = found.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
            deliveries = list(found[:limit])
            if deliveries:
                self._rows.filter(id__in=[delivery.pk for delivery in deliveries]).update(
                    deaths=F("deaths") + Case(When(running=True, then=1), default=0),
                    running=Value(True),
                    due_at=after(lease),
                )
            for each in deliveries:
                if each.running:
                    number = each.attempts + each.deaths + 1
                    self._history.tell(What.DIED, each.subscription, each.message_id, number=number)
        return [_row(delivery) for delivery in deliveries]

    def renew(self, positions: Collection[int], lease: float) -> None:
        """Hold rows for ``lease`` seconds more."""
        if positions:
            self._rows.filter(id__in=positions, running=True).update(due_at=after(lease))

    def release(self, positions: Collection[int], delay: float = 0.0) -> None:
        """Let any process handle rows in ``delay`` seconds: nobody here has begun to, so nothing is counted."""
        if positions:
            self._rows.filter(id__in=positions).update(running=False, due_at=after(delay))

    def wait(self, subscriptions: Collection[str], *, suspects: bool = True) -> float | None:
        """Return the seconds until the next row is due, at least 0, or None when no row waits.

        Without ``suspects`` only those count that ``claim`` takes for none.
        """
        left = ExpressionWrapper(F("due_at") - Now(), output_field=DurationField())
        due = self._due(subscriptions) if suspects else self._due(subscriptions).filter(~self._suspicious())
        first = due.annotate(left=left).values_list("left", flat=True).first()
        return None if first is None else max(0.0, first.total_seconds())

    def finish(self, row: DeliveryRow) -> None:
        """Forget a row that was handled; call it in the handler's transaction."""
        self._rows.filter(id=row.position).delete()

    def postpone(self, row: DeliveryRow, *, delay: float, error: str) -> None:
        """Record a failed attempt; the next is in ``delay`` seconds."""
        with transaction.atomic(using=self._alias):
            self._rows.filter(id=row.position).update(
                attempts=F("attempts") + 1, running=False, due_at=after(delay), error=stored_text(error, _MAX_ERROR)
            )
            number = row.attempts + row.deaths + 1
            self._history.tell(What.FAILED, row.subscription, row.message_id, number=number, error=error)

    def bury(self, letter: Letter, *, reason: str, error: str, attempts: int, deaths: int = 0) -> None:
        """Make ``letter`` a dead letter, and let the events behind it go on."""
        with transaction.atomic(using=self._alias):
            DeadLetter.objects.using(self._alias).update_or_create(
                subscription=letter.subscription,
                message_id=letter.message_id,
                defaults={
                    **_columns(letter),
                    "body": letter.body,
                    "reason": reason,
                    "error": stored_text(error, _MAX_ERROR),
                    "attempts": attempts,
                    "deaths": deaths,
                    "created_at": timezone.now(),
                    "died_at": timezone.now(),
                },
            )
            self._of(letter.subscription, letter.message_id).delete()
            number = attempts + deaths
            self._history.tell(What.DEAD, letter.subscription, letter.message_id, number=number, error=error)
        metrics.dead.labels(letter.subscription, reason).inc()

    def begin_again(self, letter: Letter) -> None:
        """Give ``letter`` all its attempts, from now on; a delivery of it that waits has this body from now on."""
        with transaction.atomic(using=self._alias):
            self.take_over(letter, attempts=0, deaths=0, delay=0.0)
            rows = self._of(letter.subscription, letter.message_id)
            rows.update(body=letter.body.decode(), attempts=0, deaths=0)
            rows.filter(running=False).update(due_at=Now())

    def _of(self, subscription: str, message_id: str) -> QuerySet[Delivery]:
        return self._rows.filter(subscription=subscription, message_id=message_id)


def _columns(letter: Letter) -> dict[str, str]:
    return {
        "subscription": letter.subscription,
        "message_id": letter.message_id,
        "type": letter.type,
        "source": letter.source,
        "key": letter.key,
        "correlation_id": letter.correlation_id,
    }


def _row(delivery: Delivery) -> DeliveryRow:
    return DeliveryRow(
        position=delivery.pk,
        subscription=delivery.subscription,
        message_id=delivery.message_id,
        key=delivery.key,
        body=delivery.body.encode(),
        attempts=delivery.attempts,
        deaths=delivery.deaths + int(delivery.running),
    )
