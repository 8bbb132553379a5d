"""The way of an event, from this service's own tables: published, relayed, each attempt of each subscription, and what
its handlers published in turn.

A service knows what it published (the outbox, for ``OUTBOX_RETENTION``) and what its subscriptions did (inbox, retries,
dead letters and the history, for ``INBOX_RETENTION``). Events of one correlation id belong together: children carry
the id of the event that caused them, and the correlation id of them all.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Final

import msgspec
from django.db.models import Q, QuerySet

from bandstand.events.envelope import Message, decode
from bandstand.events.history import History
from bandstand.events.models import DeadLetter, Delivery, HistoryEntry, InboxMessage, OutboxMessage
from bandstand.events.subscriptions import Registry
from bandstand.exceptions import InvalidEvent

__all__ = ["Known", "Question", "Trace", "TracedDelivery", "TracedEntry", "TracedEvent", "Tracer"]

_LIMIT: Final = 500


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which subscriptions an event goes to."""

    type: str
    source: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """``ids`` of events or correlations; ``known``: what other services told of events, by their ids."""

    ids: tuple[str, ...]
    known: dict[str, Known] = {}


class TracedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event. ``relayed_at`` and what follows it are known only where it was published (``published_here``)."""

    id: str
    type: str
    source: str
    key: str
    correlation_id: str
    causation_id: str
    published_at: datetime
    published_here: bool
    relayed_at: datetime | None = None
    relay_failures: int = 0
    relay_error: str = ""


class TracedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """``what`` happened: failed, died, dead, replayed, edited, dropped; ``number`` is the attempt's."""

    what: str
    at: datetime
    number: int = 0
    text: str = ""
    by: str = ""


class TracedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event at one subscription of this service.

    ``state`` is ``handled`` (``at`` is when that transaction began), ``running``, ``retrying``, ``waiting`` (``at`` is
    since when, ``due_at`` when it is its turn at the earliest), ``dead`` (``letter`` is its number), ``dropped``, or
    ``expected``: nothing of it is here, since the broker has not brought it yet or it was handled at the first attempt
    long ago.
    """

    event_id: str
    subscription: str
    state: str
    at: datetime | None = None
    due_at: datetime | None = None
    letter: int | None = None
    reason: str = ""
    history: tuple[TracedEntry, ...] = ()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What one service knows. ``truncated``: there are more events than these."""

    service: str
    events: tuple[TracedEvent, ...]
    deliveries: tuple[TracedDelivery, ...]
    truncated: bool = False


class Tracer:
    """Answers questions from the database of that alias."""

    def __init__(self, alias: str, registry: Registry, *, service: str) -> None:
        self._alias = alias
        self._registry = registry
        self._service = service

    def trace(self, question: Question) -> Trace:
        """Return what this service knows of the events asked for and of all that belong to the same correlations."""
        ids = set(question.ids)
        found = self._events(Q(message_id__in=ids))
        correlations = {event.correlation_id for event in found.values()} - {""} | ids
        found = {**self._events(Q(correlation_id__in=correlations)), **found}
        truncated = len(found) > _LIMIT
        order = {identifier: number for number, identifier in enumerate(found)}  # of those published at one moment
        events = sorted(found.values(), key=lambda event: (event.id not in ids, event.published_at))[:_LIMIT]
        known = {**question.known, **{event.id: Known(type=event.type, source=event.source) for event in events}}
        deliveries = self._deliveries({*ids, *known}, known)
        return Trace(
            service=self._service,
            events=tuple(sorted(events, key=lambda event: (event.published_at, order[event.id]))),
            deliveries=tuple(deliveries),
            truncated=truncated,
        )

    def _events(self, condition: Q) -> dict[str, TracedEvent]:
        """Events that fit: those of the outbox, and those of others that are here because they failed."""
        published = OutboxMessage.objects.using(self._alias).filter(condition).order_by("id")
        # Two questions, since each has an index of its own.
        rows = [*published.filter(sent_at__isnull=False)[: _LIMIT + 1], *published.filter(sent_at=None)[: _LIMIT + 1]]
        events = {row.message_id: _published(row, self._service) for row in rows}
        taken_over: list[QuerySet[Delivery] | QuerySet[DeadLetter]] = [
            Delivery.objects.using(self._alias),
            DeadLetter.objects.using(self._alias),
        ]
        for failed in taken_over:
            for each in failed.filter(condition).order_by("id")[: _LIMIT + 1]:
                if each.message_id not in events and (event := _received(each)) is not None:
                    events[each.message_id] = event
        return events

    def _deliveries(self, ids: Collection[str], known: Mapping[str, Known]) -> Iterator[TracedDelivery]:
        histories: dict[tuple[str, str], list[HistoryEntry]] = {}
        for entry in History(self._alias).of(ids):
            histories.setdefault((entry.message_id, entry.subscription), []).append(entry)
        waiting = {_place(row): row for row in Delivery.objects.using(self._alias).filter(message_id__in=ids)}
        dead = {_place(row): row for row in DeadLetter.objects.using(self._alias).filter(message_id__in=ids)}
        names = {each.name for each in self._registry} | {name for _, name in histories}
        inbox = InboxMessage.objects.using(self._alias).filter(subscription__in=names, message_id__in=ids)
        handled = {(row.message_id, row.subscription): row for row in inbox}
        expected = {
            (event_id, each.name)
            for event_id, event in known.items()
            for each in self._registry
            if each.matches(event.type) and each.source in {None, event.source}
        }
        for place in sorted({*histories, *waiting, *dead, *handled, *expected}):
            entries = histories.get(place, [])
            yield _delivery(place, entries, waiting.get(place), dead.get(place), handled.get(place))


def _place(row: Delivery | DeadLetter) -> tuple[str, str]:
    return (row.message_id, row.subscription)


def _delivery(
    place: tuple[str, str],
    entries: list[HistoryEntry],
    waiting: Delivery | None,
    dead: DeadLetter | None,
    handled: InboxMessage | None,
) -> TracedDelivery:
    state, at = "expected", None
    if waiting is not None:
        failed = waiting.attempts or waiting.deaths
        state, at = "running" if waiting.running else "retrying" if failed else "waiting", waiting.created_at
    elif handled is not None:
        state, at = "handled", handled.handled_at
    elif dead is not None:
        state, at = "dead", dead.died_at
    elif entries and entries[-1].what == HistoryEntry.What.DROPPED:
        state, at = "dropped", entries[-1].at
    return TracedDelivery(
        event_id=place[0],
        subscription=place[1],
        state=state,
        at=at,
        due_at=waiting.due_at if waiting else None,
        letter=dead.pk if dead else None,
        reason=dead.reason if dead else "",
        history=tuple(_entry(entry) for entry in entries),
    )


def _entry(entry: HistoryEntry) -> TracedEntry:
    return TracedEntry(what=entry.what, at=entry.at, number=entry.number, text=entry.text, by=entry.by)


def _published(row: OutboxMessage, service: str) -> TracedEvent:
    message = _readable(row.body.encode())
    return TracedEvent(
        id=row.message_id,
        type=row.type,
        source=service,
        key=row.key,
        correlation_id=row.correlation_id,
        causation_id=(message.causation_id or "") if message else "",
        published_at=row.created_at,
        published_here=True,
        relayed_at=row.sent_at,
        relay_failures=row.attempts,
        relay_error=row.error,
    )


def _received(row: Delivery | DeadLetter) -> TracedEvent | None:
    message = _readable(row.body.encode() if isinstance(row.body, str) else bytes(row.body))
    if message is None:
        return None
    return TracedEvent(
        id=row.message_id,
        type=message.type,
        source=message.source,
        key=message.key,
        correlation_id=row.correlation_id,
        causation_id=message.causation_id or "",
        published_at=message.time,
        published_here=False,
    )


def _readable(body: bytes) -> Message | None:
    try:
        return decode(body)[0]
    except InvalidEvent:
        return None
