"""publish(): from the application's transaction into the outbox."""

from functools import cache
from typing import Final

import msgspec
from django.db import connections
from django.utils import timezone

from bandstand.conf import get_settings
from bandstand.context import current
from bandstand.events import failpoints, metrics, wakeup
from bandstand.events.envelope import encode, uuid7
from bandstand.events.event import Event
from bandstand.events.publications import PUBLICATIONS
from bandstand.events.tables import OUTBOX
from bandstand.exceptions import InvalidEvent, NotInTransaction

__all__ = ["MAX_BYTES", "publish"]

MAX_BYTES: Final = 512 * 1024
"""Brokers limit a message to 1 MB by default. What is larger is refused here, where it can still be repaired."""

_MAX_KEY: Final = 200
_MAX_CORRELATION: Final = 64  # the rule for correlation ids; a context that was made by hand may break it
_encode: Final = msgspec.json.Encoder().encode

_COLUMNS: Final = "message_id, type, key, correlation_id, body, created_at"
_INSERT: Final = f"INSERT INTO {OUTBOX} ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608 - constant names


def publish(event: Event, *, key: str) -> str:
    """Publish ``event`` when the surrounding transaction commits, and never if it does not; return the event's id.

    Costs one INSERT; the broker may be down. ``key`` says what the event is about, as the id of the order: events of
    one key reach each subscriber in the order in which they were published, events of different keys may overtake
    each other.

    Raises:
        NotInTransaction: there is no transaction that the event could belong to.
        InvalidEvent: the event has no type, no JSON form, does not hold what its own class promises, is larger than
            512 KiB, or the key is empty or longer than 200 characters.
    """
    kind = type(event)
    settings = get_settings()
    connection = connections[settings.events.database]
    if not connection.in_atomic_block:
        raise NotInTransaction(
            f"publish({kind.__name__}) was called outside a transaction, where the event could be lost, or tell of "
            f"what never was. Put the change and publish() together inside `with transaction.atomic():`."
        )
    if not kind.__event_type__:
        raise InvalidEvent(f"{kind.__name__} has no type: class {kind.__name__}(Event, type=…, version=1).")
    _check_key(kind, key)
    _check_data(event)
    PUBLICATIONS.notice(kind)
    identifier, context = uuid7(), current()
    body = encode(event, id=identifier, source=settings.service, key=key, context=context)
    if len(body) > MAX_BYTES:
        raise InvalidEvent(
            f"{kind.__name__} has {len(body):,} bytes, above the limit of {MAX_BYTES:,}. "
            f"Publish where the data can be had, not the data."
        )
    created = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        values = [
            identifier,
            kind.__event_type__,
            key,
            context.correlation_id[:_MAX_CORRELATION],
            body.decode(),
            created,
        ]
        cursor.execute(_INSERT, values)
    wakeup.on_commit(connection)
    metrics.published.labels(kind.__event_type__).inc()
    failpoints.hit("publish.after_insert")
    return identifier


def _check_data(event: Event) -> None:
    """What consumers read is what the class says, so nothing else may leave; msgspec checks only what is decoded."""
    kind = type(event)
    try:
        _decoder(kind).decode(_encode(event))
    except (TypeError, ValueError, RecursionError) as error:  # ValidationError is a ValueError
        raise InvalidEvent(
            f"{kind.__name__} does not hold what its class says, so consumers could not read it: {error}"
        ) from error


@cache
def _decoder(kind: type[Event]) -> msgspec.json.Decoder[Event]:
    return msgspec.json.Decoder(kind)


def _check_key(kind: type[Event], key: str) -> None:
    if not 0 < len(key) <= _MAX_KEY or not key.isprintable():
        raise InvalidEvent(
            f"{kind.__name__} was published with the key {key!r:.60}; "
            f"give the id of what it is about, as text of 1 to {_MAX_KEY} characters: key=str(order.pk)."
        )
