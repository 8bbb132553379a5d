"""Status, dead letters and traces as text for people."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from django.utils import timezone

from bandstand.events.mending import Replayed, data_of, pretty
from bandstand.events.models import DeadLetter
from bandstand.events.status import Status, SubscriptionStatus
from bandstand.events.tracing import Trace, TracedDelivery, TracedEntry, TracedEvent
from bandstand.exceptions import InvalidEvent

__all__ = ["harmless", "last_line", "replayed_lines", "shown", "status_lines", "summary", "trace_lines"]

_LONGEST: Final = 100
_STATES: Final = {
    "handled": "handled",
    "running": "is being handled again",
    "waiting": "waits for its turn",
    "dropped": "dropped",
}
_HAPPENED: Final = {
    "failed": "attempt {number} failed",
    "died": "the process ended in attempt {number}",
    "dead": "given up after attempt {number}",
    "replayed": "replayed",
    "edited": "edited",
    "dropped": "dropped",
}


def last_line(error: str) -> str:
    """The line of a traceback that says most."""
    return harmless((error.strip().splitlines() or [""])[-1][:_LONGEST])


def harmless(text: str) -> str:
    """What others wrote must not control the terminal."""
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


def moment(at: datetime) -> str:
    """A time in the service's time zone, to the millisecond."""
    return timezone.localtime(at).isoformat(sep=" ", timespec="milliseconds")


# --- status ---------------------------------------------------------------------------------------
def status_lines(status: Status) -> Iterator[str]:
    """One line for the outbox, one for each subscription."""
    box = status.outbox
    yield (
        f"outbox: {box.pending} waiting, {box.in_flight} in flight, {box.parked} parked ({box.parked_keys} keys), "
        f"oldest {box.oldest:.0f} s; {status.sent} sent and kept"
    )
    yield from map(_subscription_line, status.subscriptions)
    if status.broker_error:
        yield f"What waits at the broker is not known: {status.broker_error}"


def _subscription_line(each: SubscriptionStatus) -> str:
    where = each.pattern if each.known else "no handler any more"
    broker = "" if each.at_broker is None else f"{each.at_broker} at the broker, "
    broker += "" if each.in_hand is None else f"{each.in_hand} in hand, "
    return (
        f"{each.name} ({where}): {broker}{each.waiting} waiting, {each.retrying} retrying, {each.running} running, "
        f"{each.dead} dead, oldest {each.oldest:.0f} s"
    )


# --- dead letters ---------------------------------------------------------------------------------
def summary(letter: DeadLetter) -> str:
    """One line."""
    at = timezone.localtime(letter.died_at)
    return (
        f"{letter.pk}  {at:%Y-%m-%d %H:%M:%S}  {letter.subscription}  {letter.type or '?'}  {letter.reason}  "
        f"{last_line(letter.error)}"
    )


def shown(letter: DeadLetter) -> str:
    """Everything, with the data as people read them."""
    try:
        data = pretty(data_of(letter))
    except InvalidEvent:
        data = bytes(letter.body).decode(errors="backslashreplace")
    return (
        f"{letter.pk}: {letter.type or '?'} {letter.message_id} from {letter.source or '?'}, key {letter.key!r}, "
        f"correlation {letter.correlation_id or '?'}\n"
        f"{letter.subscription}: {letter.reason} after {letter.attempts} attempts and {letter.deaths} deaths, "
        f"{moment(letter.died_at)}\n"
        f"{harmless(data)}\n{harmless(letter.error.rstrip())}"
    )


def replayed_lines(replayed: Iterable[Replayed]) -> Iterator[str]:
    """One line for each letter of which there is something to say."""
    for each in replayed:
        about = f": {each.error}" if each.error else ""
        yield f"{each.letter}  {each.subscription}  {each.message_id}  {each.outcome.value}{about}"


# --- traces ---------------------------------------------------------------------------------------
def trace_lines(trace: Trace, asked: Iterable[str]) -> Iterator[str]:
    """Events in the order of their publication, each with its way; what it caused is indented below it."""
    marked = set(asked)
    events = {event.id: event for event in trace.events}
    deliveries: dict[str, list[TracedDelivery]] = {}
    for delivery in trace.deliveries:
        deliveries.setdefault(delivery.event_id, []).append(delivery)
    roots = [event for event in trace.events if event.causation_id not in events]
    for event in roots:
        yield from _branch(event, trace.events, deliveries, marked, depth=0)
    for event_id in deliveries.keys() - events.keys():
        yield f"* ? {event_id}: published elsewhere"
        for line in _ways(None, deliveries[event_id]):
            yield f"    {line}"
    if trace.truncated:
        yield f"There are more events than these {len(trace.events)}."


def _branch(
    event: TracedEvent,
    events: tuple[TracedEvent, ...],
    deliveries: dict[str, list[TracedDelivery]],
    marked: set[str],
    depth: int,
) -> Iterator[str]:
    margin = "    " * depth
    mark = "*" if event.id in marked else "-"
    yield (
        f"{margin}{mark} {event.type} {event.id} from {event.source}, key {event.key!r}, "
        f"correlation {event.correlation_id or '?'}"
    )
    for line in _ways(event, deliveries.get(event.id, [])):
        yield f"{margin}    {line}"
    for child in events:
        if child.causation_id == event.id and child.id != event.id:
            yield from _branch(child, events, deliveries, marked, depth + 1)


def _ways(event: TracedEvent | None, deliveries: list[TracedDelivery]) -> Iterator[str]:
    moments: list[tuple[datetime, str]] = []
    if event is not None:
        moments.append((event.published_at, "published"))
        if event.relayed_at is not None:
            moments.append((event.relayed_at, "relayed"))
    for delivery in deliveries:
        moments.extend(_history(delivery))
    for at, text in sorted(moments, key=lambda each: each[0]):
        yield f"{moment(at)}  {text}"
    if event is not None and event.published_here and event.relayed_at is None:
        yield f"not relayed yet{_because(event.relay_error)}"
    for delivery in deliveries:
        yield from _now(delivery)


def _history(delivery: TracedDelivery) -> Iterator[tuple[datetime, str]]:
    for entry in delivery.history:
        yield entry.at, f"{delivery.subscription}: {happened(entry)}"
    if delivery.state == "handled" and delivery.at is not None:
        yield delivery.at, f"{delivery.subscription}: handled"


def happened(entry: TracedEntry) -> str:
    """Say what an entry of the history says."""
    by = f" by {entry.by}" if entry.by else ""
    why = "" if entry.what == "edited" else _because(entry.text)
    return f"{_HAPPENED.get(entry.what, entry.what).format(number=entry.number)}{by}{why}"


def _now(delivery: TracedDelivery) -> Iterator[str]:
    name = delivery.subscription
    if delivery.state in {"running", "waiting"}:
        yield f"{name}: {_STATES[delivery.state]}"
    elif delivery.state == "retrying" and delivery.due_at is not None:
        yield f"{name}: next attempt {moment(delivery.due_at)}"
    elif delivery.letter is not None:
        yield f"{name}: dead letter {delivery.letter}"
    elif delivery.state == "expected":
        yield f"{name}: nothing yet"


def _because(error: str) -> str:
    return f": {last_line(error)}" if error else ""
