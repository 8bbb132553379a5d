"""What several services know of the same events, made one story."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import msgspec

__all__ = ["Delivery", "Entry", "Event", "Question", "Story", "Trace", "join", "research"]

_ROUNDS: Final = 5


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """As ``manage.py events trace --json`` tells it."""

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


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened besides that it was handled."""

    what: str
    at: datetime
    number: int = 0
    text: str = ""
    by: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event at one subscription of ``service``."""

    event_id: str
    subscription: str
    state: str
    service: str = ""
    at: datetime | None = None
    due_at: datetime | None = None
    letter: int | None = None
    reason: str = ""
    history: tuple[Entry, ...] = ()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What one service knows."""

    service: str
    events: tuple[Event, ...]
    deliveries: tuple[Delivery, ...]
    truncated: bool = False


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """What all services know together, in the order of publication."""

    asked: str
    events: tuple[Event, ...]
    deliveries: tuple[Delivery, ...]
    truncated: bool = False

    def roots(self) -> list[Event]:
        """The events that none of the others caused."""
        ids = {event.id for event in self.events}
        return [event for event in self.events if event.causation_id not in ids]

    def children(self, event: Event) -> list[Event]:
        """The events that handlers of ``event`` published."""
        return [each for each in self.events if each.causation_id == event.id and each.id != event.id]

    def of(self, event_id: str) -> list[Delivery]:
        """Where the event went."""
        return [each for each in self.deliveries if each.event_id == event_id]

    def strays(self) -> list[Delivery]:
        """Deliveries of events that nobody remembers publishing."""
        ids = {event.id for event in self.events}
        return [each for each in self.deliveries if each.event_id not in ids]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """By this a service knows which of its subscriptions an event goes to."""

    type: str
    source: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """``ids`` of events and correlations, and what is known of events by now, by their ids."""

    ids: tuple[str, ...]
    known: dict[str, Known] = {}


def research(asked: str, ask: Callable[[Question], list[Trace]]) -> Story:
    """Ask until no service tells of an event that the others were not asked about.

    An id leads to the service that published it, that to the correlation, that to all of its events, and those to
    everywhere they went; so it ends after three rounds at most, unless events are published meanwhile.
    """
    done: set[str] = set()
    wanted, known = {asked}, dict[str, Known]()
    traces: list[Trace] = []
    for _ in range(_ROUNDS):
        if wanted <= done:
            break
        done |= wanted
        traces = ask(Question(ids=tuple(sorted(done)), known=known))
        events = [event for trace in traces for event in trace.events]
        known = {event.id: Known(type=event.type, source=event.source) for event in events}
        wanted = {event.id for event in events} | {event.correlation_id for event in events if event.correlation_id}
    return join(asked, traces)


def join(asked: str, traces: Iterable[Trace]) -> Story:
    """Return one story; of an event the word of its publisher counts."""
    events: dict[str, Event] = {}
    deliveries: list[Delivery] = []
    truncated = False
    for trace in traces:
        truncated = truncated or trace.truncated
        deliveries.extend(msgspec.structs.replace(each, service=trace.service) for each in trace.deliveries)
        for event in trace.events:
            if event.published_here or event.id not in events:
                events[event.id] = event
    return Story(
        asked=asked,
        events=tuple(sorted(events.values(), key=lambda event: (event.published_at, event.id))),
        deliveries=tuple(sorted(deliveries, key=lambda each: (each.event_id, each.service, each.subscription))),
        truncated=truncated,
    )
