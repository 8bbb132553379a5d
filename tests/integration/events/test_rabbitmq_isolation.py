"""The rights of a service at RabbitMQ: its credentials reach everything of its own and nothing of another service.

The server has the users and permissions that `bandstand up` and the exports write. One service is the attacker, one
the victim, and the attacker pretends that the event of a third was published.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from bandstand.events.brokers import Binding, BrokerOptions, Incoming
from bandstand.events.brokers.rabbitmq import RabbitMqBroker
from bandstand.testing.broker_conformance import Inbox, message
from tests.integration.optional.servers import RabbitMq
from tests.waiting import until

PLATFORM, ATTACKER, VICTIM, IMITATED, PASSWORD = "shop", "order-service", "product-service", "user-service", "secret"
SERVICES = (ATTACKER, VICTIM, IMITATED)
SHARED = ARCHIVE = "shop.events"
OWN, THEIRS, OTHERS = (f"shop.events.{service}" for service in SERVICES)  # where each publishes
MINE, INBOUND = f"shop.{ATTACKER}", f"shop.{VICTIM}"  # where each gets events: an exchange and a stream
QUEUE, MARK = f"{INBOUND}.stock", f"{INBOUND}.stock:user.created"
KEY = f"{IMITATED}.user.created"
REFUSED, NOT_IMPLEMENTED, PRECONDITION_FAILED = 403, 540, 406


class Holding(Inbox):
    """Settles all that comes but the first message."""

    def __init__(self) -> None:
        super().__init__(acknowledge=False)
        self.holds = False

    def __call__(self, incoming: Incoming) -> None:
        super().__call__(incoming)
        if self.holds:
            incoming.acknowledge()
        self.holds = True


class World:
    """The server with a victim that consumes and has one event in hand."""

    def __init__(self, server: RabbitMq) -> None:
        self.server = server
        self.held = Holding()
        self.victim = self.broker(VICTIM)
        self.victim.consume([Binding(subscription="stock", pattern="user.created")], self.held)
        self.publisher = self.broker(IMITATED)
        self.attacker = self.broker(ATTACKER)
        self.attacker.consume([Binding(subscription="mine", pattern="user.created")], Inbox())
        for broker in (self.victim, self.publisher, self.attacker):
            broker.open(lambda: None)
        for broker in (self.victim, self.publisher, self.attacker):
            until(lambda broker=broker: broker.connected, "a connection")  # type: ignore[misc]

    def broker(self, service: str) -> RabbitMqBroker:
        url = self.server.url(service, PASSWORD)
        return RabbitMqBroker(url, BrokerOptions(platform=PLATFORM, service=service, lease=10.0))

    def close(self) -> None:
        for broker in (self.victim, self.publisher, self.attacker):
            broker.close()

    def channel(self) -> contextlib.AbstractContextManager[BlockingChannel]:
        """A channel of the attacker."""
        return self.server.channel(ATTACKER, PASSWORD)

    def still_works(self) -> None:
        """Check that everything of the victim's and what all share is there, and that an event comes as before."""
        with self.server.channel() as channel:
            for exchange in (SHARED, OWN, THEIRS, OTHERS, INBOUND, MARK):
                channel.exchange_declare(exchange, passive=True)
            for queue in (ARCHIVE, INBOUND, QUEUE):
                channel.queue_declare(queue, passive=True)
        identifier = uuid4().hex
        assert self.publisher.publish([message(identifier)]) == [None]
        until(lambda: identifier in {each.id for each in self.held.received}, "the victim to get the event")
        assert {each.source for each in self.held.received if each.body != FORGED} == {IMITATED}
        assert [each.id for each in self.held.received if each.repeated] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    rabbit = RabbitMq(tmp_path_factory.mktemp("isolation"), platform=PLATFORM, services=SERVICES)
    with contextlib.closing(rabbit):
        rabbit.start()
        yield rabbit


@pytest.fixture(scope="module")
def world(server: RabbitMq) -> Iterator[World]:
    with contextlib.closing(World(server)) as made:
        until(lambda: server.has_exchange(MARK), "the victim's queue to be known as complete")
        yield made


# --- what is refused ---------------------------------------------------------------------------------

Attempt = Callable[[BlockingChannel], Any]


def publish(exchange: str, key: str) -> Attempt:
    return lambda channel: channel.basic_publish(exchange, key, b"x")


def own_queue(arguments: dict[str, str]) -> Attempt:
    return lambda channel: channel.queue_declare(f"{MINE}.x", durable=True, arguments=arguments)


EXCHANGES = (SHARED, OWN, THEIRS, INBOUND, MARK)
QUEUES = (ARCHIVE, INBOUND, QUEUE)
ATTEMPTS: dict[str, Attempt] = {
    **{f"publish to {name}": publish(name, KEY) for name in (SHARED, THEIRS, OTHERS, INBOUND, MARK)},
    **{f"publish to the queue {name}": publish("", name) for name in QUEUES},
    **{f"publish to amq.{kind}": publish(f"amq.{kind}", KEY) for kind in ("direct", "fanout", "headers", "topic")},
    "publish as another to its own exchange": publish(OWN, KEY),
    **{
        f"declare the exchange {name}": lambda channel, name=name: channel.exchange_declare(name, "fanout")
        for name in (*EXCHANGES, "shop.events.new", "mine")
    },
    **{
        f"delete the exchange {name}": lambda channel, name=name: channel.exchange_delete(name)
        for name in (*EXCHANGES, "amq.topic")
    },
    **{
        f"bind {name} to its own exchange": lambda channel, name=name: channel.exchange_bind(name, MINE, "#")
        for name in (SHARED, THEIRS, OTHERS, INBOUND, MARK, "amq.topic")
    },
    **{
        f"listen at {name}": lambda channel, name=name: channel.exchange_bind(MINE, name, "#")
        for name in (THEIRS, INBOUND, MARK, "amq.topic", "amq.rabbitmq.trace")
    },
    "unbind another's exchange": lambda channel: channel.exchange_unbind(SHARED, THEIRS, f"{VICTIM}.#"),
    "unbind the exchange of the imitated": lambda channel: channel.exchange_unbind(SHARED, OTHERS, f"{IMITATED}.#"),
    "unbind another's inbound exchange": lambda channel: channel.exchange_unbind(INBOUND, SHARED, "#"),
    "bind its own exchange for another's keys": lambda channel: channel.exchange_bind(SHARED, OWN, f"{IMITATED}.#"),
    **{
        f"declare the queue {name}": lambda channel, name=name: channel.queue_declare(name, durable=True)
        for name in (*QUEUES, f"{INBOUND}.x", "shop.order-service2", "mine", "")
    },
    **{f"delete the queue {name}": lambda channel, name=name: channel.queue_delete(name) for name in QUEUES},
    **{f"purge {name}": lambda channel, name=name: channel.queue_purge(name) for name in (INBOUND, QUEUE)},
    **{
        f"consume {name}": lambda channel, name=name: channel.basic_consume(name, lambda *_: None)
        for name in (INBOUND, QUEUE)
    },
    "get from another's queue": lambda channel: channel.basic_get(QUEUE),
    **{f"bind the queue {name}": lambda channel, name=name: channel.queue_bind(name, MINE, "#") for name in QUEUES},
    "unbind the archive": lambda channel: channel.queue_unbind(ARCHIVE, SHARED, "#"),
    "unbind another's queue": lambda channel: channel.queue_unbind(QUEUE, INBOUND, "*.user.created"),
    **{
        f"{kind} {name}": own_queue({"x-dead-letter-exchange": name, "x-dead-letter-routing-key": KEY})
        for kind, name in [("dead-letter to", name) for name in (SHARED, THEIRS, OTHERS, INBOUND)]
    },
    **{
        f"route the rest to {name}": lambda channel, name=name: channel.exchange_declare(
            f"{MINE}.x", "topic", arguments={"alternate-exchange": name}
        )
        for name in (SHARED, THEIRS, OTHERS, INBOUND)
    },
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_nothing_of_another_service_is_touched(world: World, name: str) -> None:
    """RabbitMQ refuses it, and all that the other service has is as it was."""
    with world.channel() as channel, pytest.raises(ChannelClosedByBroker) as refused:
        ATTEMPTS[name](channel)
    assert refused.value.reply_code == REFUSED, refused.value
    world.still_works()


@pytest.mark.parametrize("verb", ["queue_purge", "basic_get"])
def test_the_archive_can_be_read_and_not_emptied(world: World, verb: str) -> None:
    """Each service may read the archive, and a stream knows no way to take something out."""
    with world.channel() as channel, pytest.raises(Exception, match=str(NOT_IMPLEMENTED)):
        getattr(channel, verb)(ARCHIVE)
    world.still_works()


def test_another_s_name_in_a_message_is_refused(world: World) -> None:
    """RabbitMQ checks the user that a message names."""
    properties = pika.BasicProperties(user_id=IMITATED)
    with world.channel() as channel, pytest.raises(ChannelClosedByBroker) as refused:
        channel.basic_publish(OWN, f"{ATTACKER}.user.created", b"x", properties)
    assert refused.value.reply_code == PRECONDITION_FAILED


def test_tooth_the_administrator_can(world: World) -> None:
    """The administrator may do what a service may not, so it is the rights that refuse."""
    with world.server.channel() as channel:
        channel.exchange_bind(SHARED, OWN, f"{IMITATED}.#")
        channel.exchange_unbind(SHARED, OWN, f"{IMITATED}.#")
        channel.queue_declare(f"{INBOUND}.x", durable=True)
        channel.queue_delete(f"{INBOUND}.x")


# --- what gets through, under its own name -----------------------------------------------------------

FORGED = b"forged"
_HEADERS = {"x-exchange": OTHERS, "x-routing-key": KEY, "exchange": OTHERS, "source": IMITATED}
_PROPERTIES: dict[str, Any] = {"app_id": IMITATED, "type": "user.created", "message_id": "forged", "delivery_mode": 2}


def properties(**headers: Any) -> pika.BasicProperties:
    return pika.BasicProperties(headers={**_HEADERS, **headers}, **_PROPERTIES)


def with_copies(header: str) -> Attempt:
    """Name another's key as one more to route by; RabbitMQ takes the second header out of the message."""

    def attempt(channel: BlockingChannel) -> None:
        channel.basic_publish(OWN, f"{ATTACKER}.x.y", FORGED, properties(**{header: [KEY]}))

    return attempt


def through_an_exchange_of_its_own(channel: BlockingChannel) -> None:
    """No permission for keys stands behind a binding, and an additional key passes the binding to the shared one."""
    channel.exchange_declare(f"{MINE}.relay", "fanout", auto_delete=True)
    channel.exchange_bind(OWN, f"{MINE}.relay", "")
    channel.basic_publish(f"{MINE}.relay", KEY, FORGED, properties(CC=[f"{ATTACKER}.x.y"]))
    channel.exchange_delete(f"{MINE}.relay")


def dead_lettered(**arguments: Any) -> Attempt:
    """Have RabbitMQ itself publish to the attacker's exchange."""

    def attempt(channel: BlockingChannel) -> None:
        queue = f"{MINE}.dead-{len(arguments)}"
        rules = {"x-dead-letter-exchange": OWN, "x-message-ttl": 0, "x-expires": 60_000, **arguments}
        channel.queue_declare(queue, arguments=rules)
        channel.queue_bind(queue, MINE, queue)
        channel.queue_bind(queue, MINE, KEY)
        channel.basic_publish(MINE, KEY, FORGED, properties(CC=[f"{ATTACKER}.x.y"]))
        until(lambda: channel.queue_declare(queue, passive=True).method.message_count == 0, "it to be dead-lettered")
        channel.queue_delete(queue)

    return attempt


FORGERIES: dict[str, Attempt] = {
    "in its own name": lambda channel: channel.basic_publish(OWN, f"{ATTACKER}.user.created", FORGED, properties()),
    "with CC": with_copies("CC"),
    "with BCC": with_copies("BCC"),
    "through an exchange of its own": through_an_exchange_of_its_own,
    "dead-lettered": dead_lettered(),
    "dead-lettered with another's key": dead_lettered(**{"x-dead-letter-routing-key": KEY}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_the_source_of_an_event_is_who_published_it(world: World, name: str) -> None:
    """However an event comes, its source is its publisher, or nobody: at once, and from the archive."""
    world.held.received[:] = [each for each in world.held.received if each.body != FORGED]
    with world.channel() as channel:
        FORGERIES[name](channel)
    world.still_works()
    late, inbox = world.broker(VICTIM), Inbox()
    late.consume([Binding(subscription=f"late-{uuid4().hex[:8]}", pattern="user.created")], inbox)
    last = world.held.received[-1].id
    with contextlib.closing(late):
        late.open(lambda: None)
        until(lambda: last in {each.id for each in inbox.received}, "the past")
    received = [*world.held.received, *inbox.received]
    assert {each.source for each in received if each.body == FORGED} <= {ATTACKER, ""}
    assert {each.source for each in inbox.received if each.body != FORGED} == {IMITATED}


@pytest.mark.parametrize(
    ("name", "source", "event_type"),
    [
        ("with CC", ATTACKER, "x.y"),
        ("with BCC", ATTACKER, "x.y"),
        ("through an exchange of its own", "", "user.created"),
        ("dead-lettered", ATTACKER, "user.created"),
    ],
)
def test_tooth_a_forgery_arrives(world: World, name: str, source: str, event_type: str) -> None:
    """The test above compares something: RabbitMQ delivers such an event, with the imitated service's routing key."""
    world.held.received.clear()
    with world.channel() as channel:
        FORGERIES[name](channel)
    until(lambda: FORGED in world.held.bodies(), "the event")
    assert [(each.source, each.type) for each in world.held.received if each.body == FORGED] == [(source, event_type)]
