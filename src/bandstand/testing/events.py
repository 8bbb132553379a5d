"""What was published in a test, and its way through the handlers.

Works in every kind of database test: also inside the transaction that pytest-django's ``db`` rolls back, since
``publish()`` needs a transaction and does not ask whose. Events really pass through outbox, relay, broker, wire format
and inbox; only the threads are left out, so that everything has happened when ``deliver_events()`` returns::

    def test_a_new_user_gets_a_welcome_mail(db, api_client):
        api_client.post("/api/v1/users/", {...})
        [created] = published_events("user.created")
        assert created.data["email"] == "ada@example.com"
        deliver_events()
        assert len(mail.outbox) == 1
"""

from functools import partial
from typing import Any, Final
from uuid import uuid4

import msgspec

from bandstand.conf import get_settings
from bandstand.context import current
from bandstand.events import Event, Message
from bandstand.events.brokers import Binding, Broker, BrokerOptions, Incoming, Outgoing, build_broker
from bandstand.events.deliveries import lane_key
from bandstand.events.envelope import decode, encode, uuid7
from bandstand.events.errors import HandlerFailed
from bandstand.events.handling import Handling
from bandstand.events.inbox import Entry, Inbox
from bandstand.events.models import OutboxMessage
from bandstand.events.outbox import open_outbox
from bandstand.events.relay import Relay
from bandstand.events.subscriptions import REGISTRY, Registry, Subscription
from bandstand.exceptions import InvalidEvent

__all__ = ["PublishedEvent", "deliver_events", "published_events", "receive_event"]

_ROUNDS: Final = 100


class PublishedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the outbox: ``data`` as JSON gives it, ``delivered`` whether it left the outbox."""

    id: str
    type: str
    version: int
    key: str
    data: dict[str, Any]
    message: Message
    delivered: bool


def published_events(event_type: str = "") -> list[PublishedEvent]:
    """Return what this service published, in order: everything, or the events of one type."""
    rows = OutboxMessage.objects.using(get_settings().events.database).order_by("id")
    return [_published(row) for row in (rows.filter(type=event_type) if event_type else rows)]


def deliver_events(*, registry: Registry = REGISTRY) -> int:
    """Relay the outbox to this service's handlers until it is empty, with what the handlers publish themselves.

    Returns how many times a handler ran.

    Raises:
        Exception: what a handler raised; its changes are undone, and no attempt is counted.
        InvalidEvent: a handler's view does not fit an event.
        AssertionError: the handlers publish on and on.
    """
    desk = _Desk(registry)
    try:
        for _ in range(_ROUNDS):
            if not desk.relay():
                return desk.handled
    finally:
        desk.close()
    raise AssertionError(f"After {_ROUNDS} rounds the handlers still publish. Do two of them answer each other?")


def receive_event(event: Event, *, key: str, source: str, id: str = "", registry: Registry = REGISTRY) -> int:  # noqa: A002 - its own name
    """Let the handlers of this service handle ``event`` as if the service ``source`` had published it.

    Give the same ``id`` twice to see what a repetition does. Returns how many times a handler ran, and raises what
    :func:`deliver_events` does.
    """
    identifier = id or uuid7()
    desk = _Desk(registry)
    try:
        desk.publish(type(event).__event_type__, identifier, _body(event, identifier, source, key))
        return desk.handled
    finally:
        desk.close()


def _body(event: Event, identifier: str, source: str, key: str) -> bytes:
    return encode(event, id=identifier, source=source, key=key, context=current())


class _Desk:
    """A relay and a broker of one test, with handlers that run at once."""

    def __init__(self, registry: Registry) -> None:
        settings = get_settings()
        self._registry = registry
        self._failures: list[Exception] = []
        self.handled = 0
        options = BrokerOptions(platform=settings.platform, service=settings.service)
        self._broker: Broker = build_broker(f"memory://{uuid4()}", options)
        self._broker.open(lambda: None)
        bindings = [Binding(subscription=each.name, pattern=each.pattern) for each in registry]
        self._broker.consume(bindings, self._receive)
        alias = settings.events.database
        self._relay = Relay(self._broker, open_outbox(alias), settings.events)
        self._inbox = Inbox(alias)
        self._handling = Handling(alias, timeout=settings.events.handler_timeout)

    def relay(self) -> int:
        sent = self._relay.relay()
        self._raise()
        return sent

    def publish(self, event_type: str, identifier: str, body: bytes) -> None:
        self._broker.publish([Outgoing(id=identifier, type=event_type, body=body)])
        self._raise()

    def close(self) -> None:
        self._broker.close()

    def _raise(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _receive(self, incoming: Incoming) -> None:
        incoming.acknowledge()
        subscription = self._registry.get(incoming.subscription)
        if subscription is None or self._failures:
            return
        try:
            self._handle(subscription, incoming)
        except InvalidEvent as error:
            self._failures.append(error)

    def _handle(self, subscription: Subscription, incoming: Incoming) -> None:
        message, data = decode(incoming.body)
        event = subscription.decode(message, data)
        enter = partial(self._inbox.enter, subscription.name, message.id, lane_key(message))
        try:
            entry = self._handling.run(subscription, message, event, enter=enter)
        except HandlerFailed as error:
            self._failures.append(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        else:
            self.handled += entry is Entry.FIRST


def _published(row: Any) -> PublishedEvent:
    message, data = decode(row.body.encode())
    return PublishedEvent(
        id=message.id,
        type=message.type,
        version=message.version,
        key=message.key,
        data=msgspec.json.decode(data),
        message=message,
        delivered=row.sent_at is not None,
    )
