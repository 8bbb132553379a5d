"""Events that lose nothing: what happened in one service reaches every subscriber in the others.

- ``class UserCreated(Event, type="user.created", version=1)``: an event, frozen, with typed fields.
- ``publish(event, key=…)``: inside a transaction, writes the event to the outbox. The request never talks to the
  broker.
- ``@subscribe("user.created")``: a handler, with the consumer's own view of the event. Its database changes are
  applied once; it is retried with backoff, then the event goes to the dead letters.
- ``@publishes``: above a class that this service both publishes and handles, so that its contracts know.
- ``@periodic(seconds=60)``: a function that each worker calls about once a minute.
- ``Message``: what a handler may ask about the event it handles.
- ``MessagePublisher``, ``MessageConsumer``: the same under the names of tutorials with pika, for dictionaries.
- ``autodiscover()``: imports ``events.py`` of each installed app. ``register_checks()``: the outbox in ``/health/``.
- ``manage.py worker`` moves the events, ``manage.py events`` shows and mends, ``manage.py contracts`` says what the
  service publishes and reads.

The way of an event: ``publishing`` → outbox → ``relay`` → ``brokers`` → ``consumer`` → handler; one that fails
waits in ``deliveries`` and ends, if it must, in ``dead_letters``.
"""

from bandstand.events.envelope import Message
from bandstand.events.event import Event
from bandstand.events.health import register_checks
from bandstand.events.messaging import MessageConsumer, MessagePublisher
from bandstand.events.periodic import periodic
from bandstand.events.publications import publishes
from bandstand.events.publishing import publish
from bandstand.events.subscriptions import autodiscover, subscribe

__all__ = [
    "Event",
    "Message",
    "MessageConsumer",
    "MessagePublisher",
    "autodiscover",
    "periodic",
    "publish",
    "publishes",
    "register_checks",
    "subscribe",
]
