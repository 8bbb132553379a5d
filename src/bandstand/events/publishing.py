"""publish(): from the application's transaction into the outbox."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec
from django.db import connections
from prometheus_client import Counter

from bandstand import failpoints
from bandstand.conf import get_settings
from bandstand.context import current
from bandstand.events import metrics, wakeup
from bandstand.events.clock import now_sql
from bandstand.events.envelope import enclose, encode_data, uuid7
from bandstand.events.event import Event, is_event_type
from bandstand.events.publications import PUBLICATIONS
from bandstand.events.tables import OUTBOX
from bandstand.exceptions import InvalidEvent, NotInTransaction
from bandstand.structs import build_type

__all__ = ["MAX_BYTES", "publish", "publish_data"]

MAX_BYTES: Final = 512 * 1024
"""Brokers limit a message to 1 MB by default. What is larger is refused here, where it can still be repaired."""

_MAX_KEY: Final = 200
_MAX_CORRELATION: Final = 64  # the rule for correlation ids; a context that was made by hand may break it


def publish(event: Event, *, key: str) -> str:
    """Publish ``event`` when the surrounding transaction commits, and never if it does not; return the event's id.

    Costs one INSERT, and on PostgreSQL one NOTIFY after the commit; the broker may be down. ``key`` says what the event
    is about, as the id of the order: events of one key reach each subscriber in the order in which they were published,
    events of different keys may overtake each other.

    Raises:
        NotInTransaction: there is no transaction that the event could belong to.
        InvalidEvent: it is no event, has no type, no JSON form, does not hold what its own class promises, or is larger
            than 512 KiB; or the key is no text, empty or longer than 200 characters.
    """
    kind = type(event)
    if not isinstance(event, Event):
        raise InvalidEvent(
            f"publish() takes an event, not {event!r:.60}: "
            f'class OrderPlaced(Event, type="order.placed", version=1): …, then publish(OrderPlaced(…), key=…).'
        )
    connection = _transaction(kind.__name__)
    if not kind.__event_type__:
        raise InvalidEvent(f"{kind.__name__} has no type: class {kind.__name__}(Event, type=…, version=1).")
    _check_key(kind.__name__, key)
    data = _data_of(event)
    PUBLICATIONS.notice(kind)
    return _write(connection, data, kind.__event_type__, kind.__event_version__, key=key, name=kind.__name__)


def publish_data(data: Mapping[str, object], event_type: str, *, key: str | None, version: int = 1) -> str:
    """Do the same with ``data`` that no class describes, unless this service declares one for that type and version.

    Without ``key`` the event is ordered by nothing but itself.

    Raises:
        NotInTransaction: there is no transaction that the event could belong to.
        InvalidEvent: the type is none, the data have no JSON form, do not fit the class, or are too large, or the key
            is no text, empty or too long.
    """
    connection = _transaction(event_type)
    if not is_event_type(event_type):
        raise InvalidEvent(
            f"{event_type!r:.120} is no type of an event; write lower-case words joined by dots, what it is about "
            f'first and what happened last: "user.created".'
        )
    if key is not None:
        _check_key(event_type, key)
    encoded = encode_data(data, event_type)
    kind = PUBLICATIONS.declared(event_type, version)
    if kind is not None:
        _check_data(encoded, kind)
    return _write(connection, encoded, event_type, version, key=key, name=event_type)


def _transaction(name: str) -> Any:
    """Return the outbox's connection, if there is a transaction on it."""
    connection = connections[get_settings().events.database]
    if not connection.in_atomic_block:
        raise NotInTransaction(
            f"publish({name}) was called outside a transaction, where the event could be lost, or tell of "
            f"what never was. Put the change and publish() together inside `with transaction.atomic():`."
        )
    return connection


def _write(connection: Any, data: bytes, event_type: str, version: int, *, key: str | None, name: str) -> str:
    """Into the outbox."""
    identifier, context = uuid7(), current()
    key = identifier if key is None else key
    body = enclose(
        data, type=event_type, version=version, id=identifier, source=get_settings().service, key=key, context=context
    )
    if len(body) > MAX_BYTES:
        raise InvalidEvent(
            f"{name} has {len(body):,} bytes, above the limit of {MAX_BYTES:,}. "
            f"Publish where the data can be had, not the data."
        )
    correlation_id = context.correlation_id[:_MAX_CORRELATION]
    _insert(connection, [identifier, event_type, key, correlation_id, body.decode()])
    wakeup.on_commit(connection)
    _published(event_type).inc()
    failpoints.hit("publish.before_commit")
    return identifier


def _insert(connection: Any, values: list[str]) -> None:
    if failpoints.switched_off("publish.insert"):
        return
    with connection.cursor() as cursor:
        cursor.execute(_statement(connection.alias, connection.vendor), values)


@cache
def _statement(alias: str, _vendor: str) -> str:
    connection = connections[alias]
    key = connection.ops.quote_name("key")  # a word of the language on MySQL
    columns = f"message_id, type, {key}, correlation_id, body, created_at"
    return f"INSERT INTO {OUTBOX} ({columns}) VALUES (%s, %s, %s, %s, %s, {now_sql(connection)})"  # noqa: S608 - constant names


def _data_of(event: Event) -> bytes:
    kind = type(event)
    data = encode_data(event, kind.__name__)
    _check_data(data, kind)
    return data


def _check_data(data: bytes, kind: type[Event]) -> None:
    """What consumers read is what the class says, so nothing else may leave; msgspec checks only what is decoded."""
    try:
        _decoder(kind).decode(data)
    except (ValueError, RecursionError) as error:  # ValidationError is a ValueError
        raise InvalidEvent(
            f"{kind.__name__} does not hold what its class says, so consumers could not read it: {error}"
        ) from error


@cache
def _published(event_type: str) -> Counter:
    return metrics.published.labels(event_type)


@cache
def _decoder(kind: type[Event]) -> msgspec.json.Decoder[Event]:
    build_type(kind)
    return msgspec.json.Decoder(kind)


def _check_key(name: str, key: object) -> None:
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY or not key.isprintable():
        raise InvalidEvent(
            f"{name} was published with the key {key!r:.60}; "
            f"give the id of what it is about, as text of 1 to {_MAX_KEY} characters: key=str(order.pk)."
        )
