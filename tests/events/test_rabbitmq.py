"""What of the RabbitMQ broker needs no server; the rest is in the integration tests."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from bandstand.events.brokers import BrokerOptions
from bandstand.events.brokers.rabbitmq import RabbitMqBroker
from bandstand.events.brokers.rabbitmq.backfill import _matcher
from bandstand.events.brokers.rabbitmq.connection import connection_parameters, explained
from bandstand.events.brokers.rabbitmq.consumer import Consumer, RabbitMqIncoming
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.publisher import Publisher, PublishRequest, _blamed
from bandstand.events.brokers.rabbitmq.topology import Topology
from bandstand.exceptions import BrokerError, BrokerUnavailable, ConfigurationError, Unroutable

OPTIONS = BrokerOptions(platform="shop", service="order-service")
URL = "amqp://order-service:pass%20word@rabbit.internal/shop"


def test_names_are_those_of_the_server_s_permissions() -> None:
    """Exchange, queues and keys are called what the permissions in the reference are written for."""
    names = Names(platform="shop", service="order-service")
    assert names.exchange == "shop.events.order-service"
    assert names.shared == names.archive == "shop.events"
    assert names.inbound == names.history == "shop.order-service"
    assert names.key("order.placed") == "order-service.order.placed"
    assert names.filter("order.*") == "*.order.*"
    assert names.queue("orders.reserve") == "shop.order-service.orders.reserve"
    assert names.backfilled_mark("orders.reserve", "order.*") == "shop.order-service.orders.reserve:order.*"


def test_a_copy_from_the_archive_has_a_key_that_no_pattern_matches() -> None:
    """A pattern has at least three words with that for the service, so no other subscription gets the copy."""
    names = Names(platform="shop", service="order-service")
    assert names.backfill("orders.reserve") == "backfill.orders:reserve"


@pytest.mark.parametrize(
    ("exchange", "source"),
    [("shop.events.user-service", "user-service"), ("shop.events", ""), ("shop.order-service", ""), ("", "")],
)
def test_the_exchange_names_the_source(exchange: str, source: str) -> None:
    """Each service has an exchange to publish to; what comes from any other is nobody's."""
    assert Names(platform="shop", service="order-service").source(exchange) == source


@pytest.mark.parametrize("service", ["events", "order.service", "order service", "*", "#", ""])
def test_a_name_that_would_widen_a_key_is_refused(service: str) -> None:
    """A service can't be called so that its routing key is another's."""
    with pytest.raises(ConfigurationError, match="in RabbitMQ"):
        Names(platform="shop", service=service)


def test_a_name_that_rabbitmq_can_t_hold_is_refused() -> None:
    """A queue's name has at most 255 bytes; the error names it."""
    with pytest.raises(ConfigurationError, match="shorten"):
        Names(platform="p" * 100, service="s" * 100).queue("q" * 80)


@pytest.mark.parametrize(("key", "wanted"), [("a.order.placed", True), ("b.order.x", True), ("a.order", False)])
def test_the_past_is_chosen_as_the_server_routes(key: str, wanted: bool) -> None:
    """A star stands for one word, and whatever service published it."""
    assert _matcher("order.*")(key) is wanted
    assert not _matcher("order.*")("a.user.created")
    assert not _matcher("order.*")("a.order.placed.twice")


def test_the_url_says_where_and_as_whom() -> None:
    """User, password and virtual host are unquoted; the heartbeat finds a dead peer within the lease."""
    parameters = connection_parameters(URL, OPTIONS)
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("rabbit.internal", 5672, "shop")
    assert (parameters.credentials.username, parameters.credentials.password) == ("order-service", "pass word")
    assert parameters.heartbeat == 7
    assert parameters.ssl_options is None


def test_amqps_verifies_the_certificate() -> None:
    """With amqps:// the server must have a certificate for its name from an authority that the machine trusts."""
    import ssl

    options = connection_parameters(URL.replace("amqp:", "amqps:"), OPTIONS).ssl_options
    assert options.server_hostname == "rabbit.internal"
    assert options.context.verify_mode is ssl.CERT_REQUIRED
    assert options.context.check_hostname


@pytest.mark.parametrize("url", ["amqp://localhost:port/", "amqp://user@localhost/", "amqp://localhost/?nonsense=1"])
def test_a_url_that_is_not_understood_is_a_fault_of_the_configuration(url: str) -> None:
    """The error says how to write it."""
    with pytest.raises(ConfigurationError, match="amqp://user:password@host"):
        RabbitMqBroker(url, OPTIONS)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConnectionClosedByBroker(403, "ACCESS_REFUSED - Login was refused"), BrokerError, "does not know the user"),
        (ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost shop not found"), BrokerError, "no virtual host 'shop'"),
        (ChannelClosedByBroker(403, "ACCESS_REFUSED - access to queue 'x'"), BrokerError, "access to queue 'x'"),
        (ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown"), BrokerUnavailable, "CONNECTION_FORCED"),
        (ConnectionRefusedError(111, "refused"), BrokerUnavailable, "rabbit.internal:5672 can't be used"),
    ],
)
def test_trouble_is_told_in_words(error: Exception, kind: type, words: str) -> None:
    """What goes wrong names the server and what to change, and never the password."""
    told = explained(error, URL)
    assert type(told) is kind
    assert words in str(told)
    assert "pass" not in str(told).replace("password", "")


REQUEST = PublishRequest(exchange="shop.events", key="a.order.placed", body=b"12345", properties=pika.BasicProperties())


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (406, "PRECONDITION_FAILED - message size 5 is larger than configured max size 4", BrokerError),
        (406, "PRECONDITION_FAILED - message size 6 is larger than configured max size 4", BrokerUnavailable),
        (403, "ACCESS_REFUSED - access to topic 'a.order.placed' in exchange 'shop.events' refused", BrokerError),
        (403, "ACCESS_REFUSED - access to topic 'b.order.placed' in exchange 'shop.events' refused", BrokerUnavailable),
        (403, "ACCESS_REFUSED - access to exchange 'shop.events' in vhost '/' refused", BrokerError),
        (404, "NOT_FOUND - no exchange 'shop.events' in vhost '/'", Unroutable),
        (541, "INTERNAL_ERROR", BrokerUnavailable),
    ],
)
def test_only_the_message_that_closed_the_channel_is_to_blame(code: int, text: str, kind: type) -> None:
    """The server closes a channel over one message; the others of the batch are to be sent again."""
    assert type(_blamed(REQUEST, ChannelClosedByBroker(code, text))) is kind


class RecordingChannel:
    """Stands for the channel in a test of arithmetic: which frames settle which messages."""

    def __init__(self) -> None:
        self.is_open = True
        self.frames: list[tuple[str, int, bool]] = []

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.frames.append(("ack", tag, multiple))

    def basic_nack(self, tag: int, requeue: bool) -> None:
        self.frames.append(("nack", tag, requeue))


@pytest.fixture
def brought() -> tuple[Callable[[], list[Any]], list[RabbitMqIncoming]]:
    """Six messages on one channel, and what runs the event loop once and returns the frames since."""
    import asyncio

    from pika.spec import Basic

    from bandstand.events.brokers.rabbitmq.consumer import _Delivery

    raw = RecordingChannel()
    messages: list[RabbitMqIncoming] = []
    runner = asyncio.Runner()

    async def begin() -> _Delivery:
        names = Names(platform="shop", service="order-service")
        delivery = _Delivery(type("Stub", (), {"raw": raw})(), "a", names)
        for tag in range(1, 7):
            method = Basic.Deliver(
                delivery_tag=tag, exchange="shop.events.user-service", routing_key="other.user.created"
            )
            delivery.bring(messages.append, method, pika.BasicProperties(), b"x")  # type: ignore[arg-type]
        return delivery

    runner.run(begin())

    def frames() -> list[Any]:
        runner.run(asyncio.sleep(0.01))
        found, raw.frames = raw.frames, []
        return found

    yield frames, messages
    runner.close()


def test_acknowledgements_never_cover_what_is_still_worked_on(brought: Any) -> None:
    """Those in front go in one frame; those behind a message that is not settled go one by one, and not it."""
    frames, messages = brought
    for number in (0, 1, 3):
        messages[number].acknowledge()
    assert frames() == [("ack", 2, True), ("ack", 4, False)]
    messages[2].release(0.0)
    messages[2].acknowledge()  # too late, and not harmful
    assert ("ack", 6, True) not in frames()
    messages[4].acknowledge()
    messages[5].acknowledge()
    assert frames()[-1] == ("ack", 6, True)


def test_a_message_is_settled_once(brought: Any) -> None:
    """The second of two ways to settle a message does nothing: the server would close the channel over it."""
    frames, messages = brought
    messages[0].acknowledge()
    messages[0].acknowledge()
    assert frames() == [("ack", 1, True)]
    messages[0].release(0.0)
    assert frames() == []


def test_the_exchange_vouches_for_the_source(brought: Any) -> None:
    """It is who may write to the exchange, whatever the routing key says; a message without an id is known by its
    body."""
    _, messages = brought
    assert (messages[0].source, messages[0].type) == ("user-service", "user.created")
    assert messages[0].id == messages[1].id != ""


async def nothing(*_: object) -> None:
    """Stands for what the server is asked."""


async def watching(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, "asyncio.Task[None]"]:
    """What a publisher does all the time: what it waits for, and its task."""
    monkeypatch.setattr(Topology, "require_exchange", nothing)
    publisher = Publisher(SimpleNamespace(lost=asyncio.Event()), None, lambda: None)  # type: ignore[arg-type]
    publisher._channel = object()  # type: ignore[assignment]
    return publisher._missing, asyncio.create_task(publisher._watch())


async def keeping(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, "asyncio.Task[None]"]:
    """What a subscription does all the time."""

    async def begin(consumer: Consumer) -> bool:
        consumer._disturbed.clear()  # as a new channel does
        return True

    monkeypatch.setattr(Consumer, "_begin", begin)
    monkeypatch.setattr(Consumer, "_complete", nothing)
    consumer = Consumer(
        connection=SimpleNamespace(lost=asyncio.Event()),  # type: ignore[arg-type]
        names=None,  # type: ignore[arg-type]
        binding=None,  # type: ignore[arg-type]
        options=OPTIONS,
        receiver=lambda incoming: None,
        history=nothing,  # type: ignore[arg-type]
        backfill=nothing,
    )
    return consumer._disturbed, consumer.task


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("begin", [watching, keeping])
def test_who_is_told_to_end_ends_whatever_happens_at_that_moment(
    begin: Callable[..., Any], turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is cancelled so many turns of the loop after what it waited for has happened does not wait again."""
    monkeypatch.setattr(Publisher, "check_every", 3600.0)
    monkeypatch.setattr(Consumer, "check_every", 3600.0)

    async def end() -> bool:
        event, task = await begin(monkeypatch)
        for _ in range(6):
            await asyncio.sleep(0)
        event.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(6):
            event.clear()  # nothing else wakes it
            await asyncio.sleep(0)
        return bool(task.cancelled())

    assert asyncio.run(end())
