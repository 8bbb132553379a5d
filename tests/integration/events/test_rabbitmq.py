"""RabbitMQ: the rules of all brokers on the real server, and its own faults."""

import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from bandstand import failpoints
from bandstand.amqp import Channel
from bandstand.events.brokers import Binding, Broker, BrokerOptions, Outgoing, looped
from bandstand.events.brokers.rabbitmq import RabbitMqBroker
from bandstand.events.brokers.rabbitmq import publisher as publishing
from bandstand.events.brokers.rabbitmq.consumer import Consumer
from bandstand.events.brokers.rabbitmq.publisher import Publisher
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable
from bandstand.failpoints import FailPoint
from bandstand.testing.broker_conformance import BrokerConformance, Inbox, message
from bandstand.topology.rabbitmq import permissions, topic_permissions
from tests.integration.events.rabbit import Rabbit
from tests.integration.optional.servers import RabbitMq
from tests.waiting import GUARD, until

SERVICES = ("order-service", "user-service", "product-service")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer to a publisher comes from a limit in time: whatever is told, is told before."""
    monkeypatch.setattr(publishing, "_CONFIRM_TIMEOUT", 2 * GUARD)
    monkeypatch.setattr(looped, "_PATIENCE", 2 * GUARD)


class TestRabbitMqBroker(BrokerConformance):
    lease = 2.0
    drops_repetitions = False

    @pytest.fixture(autouse=True)
    def server(self, rabbit: Rabbit) -> None:
        self.rabbit = rabbit

    def build(self, options: BrokerOptions) -> Broker:
        self.rabbit.declare(options.platform, options.service)
        return RabbitMqBroker(self.rabbit.url(), options)


@pytest.fixture
def platform() -> str:
    """The name of a platform of one test."""
    return f"r{uuid4().hex[:10]}"


@pytest.fixture
def connect(rabbit: Rabbit, platform: str) -> Iterator[Callable[..., RabbitMqBroker]]:
    """Brokers of that platform. Unless told otherwise, they are connected when they are returned."""
    rabbit.declare(platform, *SERVICES)
    opened: list[RabbitMqBroker] = []

    def connect(
        receiver: Any = None,
        pattern: str = "user.created",
        service: str = "order-service",
        url: str = "",
        wait: bool = True,
    ) -> RabbitMqBroker:
        broker = RabbitMqBroker(url or rabbit.url(), BrokerOptions(platform=platform, service=service, lease=4.0))
        if receiver is not None:
            broker.consume([Binding(subscription="a", pattern=pattern)], receiver)
        broker.open(lambda: None)
        opened.append(broker)
        if wait:
            connected(broker)
        return broker

    yield connect
    for broker in opened:
        broker.close()


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers look after what they declared each half second."""
    monkeypatch.setattr(Consumer, "check_every", 0.5)
    monkeypatch.setattr(Publisher, "check_every", 0.5)


def connected(broker: RabbitMqBroker) -> None:
    until(lambda: broker.connected, "a connection")


def queue_of(broker: RabbitMqBroker) -> str:
    """The queue of its subscription."""
    return f"{broker.options.platform}.order-service.a"


def switch_off(monkeypatch: pytest.MonkeyPatch, protection: str) -> None:
    monkeypatch.setitem(failpoints._points, protection, FailPoint("off"))


def test_a_consumer_that_gets_no_answer_asks_again(
    connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was too busy to answer in time leaves no subscription deaf."""
    answered, missed = Channel.call, []

    async def call(channel: Channel, method: Any, **arguments: Any) -> Any:
        if "consumer_tag" in arguments and not missed:
            missed.append(method)
            raise TimeoutError("The server did not answer in time.")
        return await answered(channel, method, **arguments)

    monkeypatch.setattr(Channel, "call", call)
    inbox = Inbox()
    broker = connect(inbox)
    assert broker.publish([message("1")]) == [None]
    until(lambda: inbox.bodies() == [b"1"], "the message")
    assert len(missed) == 1


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[RabbitMq]:
    """A RabbitMQ that writes the names of new queues as late as it does by itself."""
    server = RabbitMq(tmp_path, erlang="-kernel inet_dist_use_interface {127,0,0,1} -noinput")
    with contextlib.closing(server):
        server.start()
        yield server


def test_what_a_new_queue_forgets_when_its_server_is_killed_comes_again(
    forgetful: RabbitMq, platform: str, connect: Callable[..., RabbitMqBroker]
) -> None:
    """Killed early, the server comes back with a queue that is empty, or that never answers again: it is made anew and
    filled from the archive."""
    forgetful.declare(platform, *SERVICES)
    publisher = connect(service="user-service", url=forgetful.url())
    until(forgetful.has_written, "exchange and archive to be old enough")
    inbox = Inbox()
    connect(inbox, url=forgetful.url())
    assert publisher.publish([message(str(number)) for number in range(10)]) == [None] * 10
    until(lambda: len(inbox.received) >= 10, "all messages")
    forgetful.kill()
    inbox.received.clear()
    forgetful.start()
    until(lambda: {str(number) for number in range(10)} <= {each.id for each in inbox.received}, "all messages again")
    until(lambda: publisher.publish([message("later")]) == [None], "a confirmation")


@pytest.mark.parametrize("protected", [True, False])
def test_a_new_queue_is_marked_as_backfilled_once_it_is_on_the_disk(
    rabbit: Rabbit, connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    """It is marked after ``write_delay``, or at the orderly end of the process; switched off, it is marked at once."""
    if not protected:
        switch_off(monkeypatch, "rabbitmq.write_delay")
    broker = connect(Inbox())
    mark = f"{broker.options.platform}.order-service.a:user.created"
    assert rabbit.has_exchange(mark) is not protected
    broker.close()
    assert rabbit.has_exchange(mark)


# --- confirmations -----------------------------------------------------------------------------------


def test_a_server_killed_while_publishing_loses_nothing_confirmed(
    running: Rabbit, connect: Callable[..., RabbitMqBroker]
) -> None:
    """Of messages published while the server is killed again and again, each confirmed one arrives."""
    inbox = Inbox()
    broker = connect(inbox)
    running.settle(queue_of(broker))
    confirmed: list[bytes] = []
    attempted = kills = 0
    stop, refused = Event(), Event()

    def kill() -> None:
        nonlocal kills
        for _ in range(2):
            before = len(confirmed)
            until(lambda: len(confirmed) >= before + 300, "more confirmations")  # noqa: B023 - called before it changes
            running.kill()
            kills += 1
            until(refused.is_set, "a refusal")
            running.start()
            connected(broker)
            refused.clear()
        stop.set()

    killer = Thread(target=kill)
    killer.start()
    while not stop.is_set():
        batch = [message(f"{attempted + number}") for number in range(50)]
        attempted += len(batch)
        outcomes = broker.publish(batch)
        confirmed += [each.body for each, error in zip(batch, outcomes, strict=True) if error is None]
        if any(outcomes):
            assert {type(error) for error in outcomes if error} == {BrokerUnavailable}
            refused.set()
            time.sleep(0.1)
    killer.join()
    until(lambda: set(confirmed) <= set(inbox.bodies()), "all that was confirmed")
    assert kills == 2


def test_without_confirms_a_killed_server_would_lose(
    running: Rabbit, connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tooth: with confirms switched off, what a server that then dies never saw counts as sent."""
    monkeypatch.setattr(publishing, "_CONFIRM_TIMEOUT", 0.2)  # the server answers nothing
    inbox = Inbox()
    first = connect(inbox)
    running.settle(queue_of(first))
    first.close()
    for off in (False, True):
        if off:
            switch_off(monkeypatch, "rabbitmq.confirms")
        broker = connect()
        assert running.process is not None
        running.process.send_signal(signal.SIGSTOP)
        outcomes = broker.publish([message(f"{off}-{number}") for number in range(10)])
        running.kill()
        broker.close()
        running.start()
        assert [error is None for error in outcomes] == [off] * 10
    after = connect(Inbox())
    after.close()
    assert inbox.bodies() == []


def test_messages_in_flight_when_the_server_dies_are_told_at_once(
    running: Rabbit, connect: Callable[..., RabbitMqBroker]
) -> None:
    """A batch that waits for confirmations when the connection breaks ends then, each message with its answer."""
    broker = connect()
    assert running.process is not None
    running.process.send_signal(signal.SIGSTOP)  # the server takes bytes and answers nothing
    outcome: list[list[BrokerError | None]] = []
    done = Event()

    def publish() -> None:
        outcome.append(broker.publish([message(str(number)) for number in range(50)]))
        done.set()

    Thread(target=publish, daemon=True).start()
    in_progress = broker._session._publisher._channel._in_progress  # type: ignore[union-attr]
    until(lambda: len(in_progress) == 50, "the batch to be on its way")
    running.kill()
    assert done.wait(GUARD)
    assert {type(error) for error in outcome[0]} == {BrokerUnavailable}, outcome[0][:3]
    until(lambda: not broker.connected, "the loss of the connection to be seen")
    assert isinstance(broker.publish([message("x")])[0], BrokerUnavailable), "told at once, not after a time-out"


# --- mandatory ---------------------------------------------------------------------------------------


def test_what_no_queue_takes_is_unroutable_until_the_archive_is_declared_again(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker]
) -> None:
    """Without the archive an event that nobody subscribes to is not confirmed, and no service declares it."""
    broker = connect()
    with rabbit.channel() as channel:
        channel.queue_delete(f"{platform}.events")
    for _ in range(2):
        [error] = broker.publish([message("1")])
        assert isinstance(error, Unroutable)
    assert rabbit.declare(platform, *SERVICES) == (f"{platform}.events",)
    until(lambda: broker.publish([message("1")]) == [None], "a connection")
    inbox = Inbox()
    connect(inbox, service="user-service")
    inbox.wait(1)
    assert set(inbox.bodies()) == {b"1"}


def test_without_mandatory_an_unroutable_message_would_vanish(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tooth: with the flag switched off, a message that no queue took counts as sent."""
    switch_off(monkeypatch, "rabbitmq.mandatory")
    broker = connect()
    with rabbit.channel() as channel:
        channel.queue_delete(f"{platform}.events")
    assert broker.publish([message("1")]) == [None]
    rabbit.declare(platform, *SERVICES)
    inbox = Inbox()
    assert connect(inbox, service="user-service").publish([message("2")]) == [None]
    inbox.wait(1)
    assert inbox.bodies() == [b"2"]


# --- what is deleted ---------------------------------------------------------------------------------


def test_a_deleted_queue_is_declared_again_with_what_was_in_it(
    rabbit: Rabbit, connect: Callable[..., RabbitMqBroker]
) -> None:
    """A queue that somebody deletes while it is consumed comes back by itself, and loses nothing."""
    inbox = Inbox()
    broker = connect(inbox)
    publisher = connect(service="user-service")
    assert publisher.publish([message("1")]) == [None]
    inbox.wait(1)
    with rabbit.channel() as channel:
        channel.queue_delete(f"{broker.options.platform}.order-service.a")
        assert publisher.publish([message("2")]) == [None]
    until(lambda: b"2" in inbox.bodies(), "the second message")
    assert publisher.publish([message("3")]) == [None]
    until(lambda: b"3" in inbox.bodies(), "the third message")


def test_an_unroutable_message_does_not_hold_up_the_end(
    connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is closed in the moment in which something turns out to be missing closes at once, and does not
    first wait until it is time to look again."""
    for each in (Consumer, Publisher):
        monkeypatch.setattr(each, "check_every", 2 * GUARD)
    broker = connect(Inbox())

    def happen() -> None:
        broker._closing.set()
        broker._session._publisher._missing.set()  # type: ignore[union-attr]
        broker._session._consumers[0]._disturbed.set()  # type: ignore[union-attr]

    broker._loop.call_soon_threadsafe(happen)  # type: ignore[union-attr]
    assert broker._closed.wait(GUARD), "it waited for its next look"


@pytest.mark.parametrize("name", ["{}.events", "{}.events.order-service"])
def test_a_deleted_exchange_is_declared_again_before_anything_passes(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker], name: str
) -> None:
    """With the shared exchange all bindings go. When the administrator has declared it again, the first event that is
    confirmed comes to all who are bound: nobody has to notice anything."""
    inbox, other = Inbox(), Inbox()
    broker = connect(inbox)
    connect(other, service="product-service")
    with rabbit.channel() as channel:
        channel.exchange_delete(name.format(platform))
    [error] = broker.publish([message("0")])
    assert isinstance(error, Unroutable | BrokerUnavailable)
    assert rabbit.declare(platform, *SERVICES) == (name.format(platform),)
    until(lambda: broker.publish([message("1")]) == [None], "the exchange to be back")
    assert broker.publish([message("2")]) == [None]
    until(lambda: {b"1", b"2"} <= set(inbox.bodies()) & set(other.bodies()), "both messages, in both services")
    assert inbox.bodies() == other.bodies()


def test_tooth_an_event_that_passes_before_who_waits_is_bound_is_missed(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker]
) -> None:
    """Declared in another order, the shared exchange would lose what comes before the bindings to inbound exchanges."""
    inbox = Inbox()
    broker = connect(inbox)
    with rabbit.channel() as channel:
        channel.exchange_delete(f"{platform}.events")
    assert rabbit.declare(platform) == (f"{platform}.events",)  # as if there were no services
    with rabbit.channel() as channel:
        channel.exchange_bind(f"{platform}.events", f"{platform}.events.order-service", "#")
    until(lambda: broker.publish([message("1")]) == [None], "the exchange to be back")
    rabbit.declare(platform, *SERVICES)
    assert broker.publish([message("2")]) == [None]
    inbox.wait(1)
    assert inbox.bodies() == [b"2"]


@pytest.mark.usefixtures("attentive")
def test_a_deleted_inbound_exchange_is_declared_again_with_what_was_missed(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker]
) -> None:
    """With it all bindings of the service's queues go; their marks too, so the service knows what they have missed."""
    inbox = Inbox()
    broker = connect(inbox)
    publisher = connect(service="user-service")
    with rabbit.channel() as channel:
        channel.exchange_delete(f"{platform}.order-service")
        assert publisher.publish([message("1")]) == [None]
    until(lambda: b"1" in inbox.bodies(), "what was missed")
    assert broker.publish([message("2")]) == [None]
    until(lambda: b"2" in inbox.bodies(), "what comes from then on")


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("which", ["queue", "inbound"])
def test_a_binding_that_was_removed_is_made_again(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker], which: str
) -> None:
    """A binding that somebody removes by hand is made again at the next check."""
    inbox = Inbox()
    broker = connect(inbox)
    with rabbit.channel() as channel:
        if which == "queue":
            channel.queue_unbind(f"{platform}.order-service.a", f"{platform}.order-service", "*.user.created")
        else:
            channel.exchange_unbind(f"{platform}.order-service", f"{platform}.events", "#")
    numbers = itertools.count()

    def hears() -> bool:
        assert broker.publish([message(str(next(numbers)))]) == [None]
        return bool(inbox.bodies())

    until(hears, "it to be bound again", pause=0.1)


# --- bindings of earlier releases --------------------------------------------------------------------


def test_bindings_of_earlier_releases_are_removed(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker]
) -> None:
    """After a changed pattern only the new one is bound, and only what is published from then on comes."""
    first = connect(Inbox(), "user.*")
    first.publish([message("old", "user.deleted")])
    first.close()
    connect(service="user-service").publish([message("before", "order.placed")])
    inbox = Inbox()
    connect(inbox, "order.placed").publish([message("1", "user.deleted"), message("2", "order.placed")])
    inbox.wait(1)
    assert rabbit.bindings(f"{platform}.order-service.a", f"{platform}.order-service") == {
        "*.order.placed",
        "backfill.a",
    }
    assert inbox.bodies() == [b"2"]


def test_without_unbinding_what_a_service_left_would_still_come(
    connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tooth: RabbitMQ keeps a binding until somebody takes it away."""

    async def nothing(self: Consumer) -> None: ...

    connect(Inbox(), "user.*").close()
    monkeypatch.setattr(Consumer, "_forget_others", nothing)
    inbox = Inbox()
    connect(inbox, "order.placed").publish([message("1", "user.deleted"), message("2", "order.placed")])
    inbox.wait(2)


@pytest.mark.usefixtures("attentive")
def test_a_release_that_another_one_unbound_hears_what_it_missed(connect: Callable[..., RabbitMqBroker]) -> None:
    """While two releases with different patterns run, the one that started first notices and gets everything."""
    new, old = Inbox(), Inbox()
    connect(new, "user.created")
    late = connect(old, "user.deleted")  # say, a process of the old release that was restarted
    late.publish([message("1", "user.created")])
    until(lambda: b"1" in new.bodies() + old.bodies(), "the message")


# --- the server takes nothing ------------------------------------------------------------------------


def test_a_server_without_memory_takes_nothing_and_still_brings(
    rabbit: Rabbit, connect: Callable[..., RabbitMqBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resource alarm is told, then at once; no message counts as sent; consumers go on; afterwards all is well."""
    inbox = Inbox(acknowledge=False)
    broker = connect(inbox)
    assert broker.publish([message("before")]) == [None]
    [held] = inbox.wait(1)
    rabbit.control("set_vm_memory_high_watermark", "0")
    try:
        monkeypatch.setattr(publishing, "_CONFIRM_TIMEOUT", 0.2)  # a server that blocks a publisher confirms nothing
        [error] = broker.publish([message("1")])
        assert isinstance(error, BrokerUnavailable)
        until(lambda: not broker.connected, "the alarm to be heard")
        monkeypatch.setattr(publishing, "_CONFIRM_TIMEOUT", 2 * GUARD)
        [error] = broker.publish([message("1")])
        assert "memory or disk is full" in str(error)
        held.acknowledge()
        until(lambda: rabbit.messages(queue_of(broker)) == 0, "the acknowledgement to be taken")
        again = Inbox()
        connect(again, wait=False)  # a consumer that starts now
    finally:
        rabbit.control("set_vm_memory_high_watermark", "0.4")
    connected(broker)
    assert broker.publish([message("2")]) == [None]


# --- consumers ---------------------------------------------------------------------------------------


def test_a_clean_stop_leaves_nothing_that_counts_as_repeated(connect: Callable[..., RabbitMqBroker]) -> None:
    """A consumer that stops in the middle of a flood settles all that it was brought; the next gets the rest fresh."""
    first, second = Inbox(), Inbox()
    broker = connect(first)
    publisher = connect(service="user-service")
    publisher.publish([message(str(number)) for number in range(2000)])
    first.wait(100)
    broker.stop_consuming()
    stopped = len(first.received)
    broker.close()
    assert len(first.received) == stopped
    connect(second)
    second.wait(2000 - stopped)
    assert [each.id for each in second.received if each.repeated] == []
    assert first.bodies() + second.bodies() == [str(number).encode() for number in range(2000)]


def test_a_paused_process_loses_its_messages_to_another(rabbit: Rabbit, connect: Callable[..., RabbitMqBroker]) -> None:
    """The unsettled messages of a connection that died come again, marked as repeated."""
    first, second = Inbox(acknowledge=False), Inbox()
    broker = connect(first)
    broker.publish([message("1")])
    first.wait(1)
    other = connect(second)
    rabbit.control("close_all_connections", "--vhost", "/", "the test wants it")
    # A queue that is not marked yet may be backfilled again; such a copy is new to it.
    until(lambda: any(each.repeated for each in first.received + second.received), "the message to come again")
    for each in first.received:
        each.acknowledge()  # the first of them is of a channel that is gone: harmless
    connected(broker)
    connected(other)


# --- who may what ------------------------------------------------------------------------------------


def test_a_service_publishes_in_its_own_name_only(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker]
) -> None:
    """With the permissions of the reference a service works, and what is another's is refused in words."""
    rights, topics = permissions(platform, "order-service"), topic_permissions(platform, "order-service")
    rabbit.control("add_user", platform, "secret")
    rabbit.control("set_permissions", platform, rights["configure"], rights["write"], rights["read"])
    rabbit.control("set_topic_permissions", platform, topics["exchange"], topics["write"], topics["read"])
    url = rabbit.url(platform, "secret")
    inbox = Inbox()
    assert connect(inbox, "order.placed", url=url).publish([message("1", "order.placed")]) == [None]
    inbox.wait(1)
    stranger = connect(service="user-service", url=url)
    [error] = stranger.publish([message("2")])
    assert type(error) is BrokerError
    assert f"{platform}.events.user-service" in str(error)
    connected(stranger)


def test_without_its_exchange_a_service_says_who_has_to_declare_it(
    rabbit: Rabbit, platform: str, connect: Callable[..., RabbitMqBroker], caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the exchange and the command; once it is there, the service connects by itself."""
    broker = connect(service="new-service", wait=False)
    until(lambda: f"python -m bandstand.topology {platform} new-service" in caplog.text, "the log")
    assert not broker.connected
    assert rabbit.declare(platform, "new-service") == (f"{platform}.events.new-service",)
    connected(broker)


def test_a_wrong_password_is_told_so_once(
    connect: Callable[..., RabbitMqBroker], rabbit: Rabbit, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says whose password it is, once and not at each attempt, and never the password."""
    caplog.set_level(logging.WARNING)
    before = rabbit.refusals()
    broker = connect(url=rabbit.url(password="wrong-pass-word"), wait=False)
    until(lambda: rabbit.refusals() >= before + 3, "three attempts")
    until(lambda: "does not know the user 'bandstand'" in caplog.text, "the refusal")
    assert not broker.connected
    assert caplog.text.count("does not know the user") == 1
    assert "wrong-pass-word" not in caplog.text


def test_a_virtual_host_that_is_not_there_is_told(
    connect: Callable[..., RabbitMqBroker], rabbit: Rabbit, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the virtual host."""
    connect(url=rabbit.url().replace("%2F", "nowhere"), wait=False)
    until(lambda: "no virtual host 'nowhere'" in caplog.text, "the refusal")


def test_a_message_above_the_server_s_limit_is_its_own_error(connect: Callable[..., RabbitMqBroker]) -> None:
    """A message that is too large fails alone: those beside it arrive with the next attempt."""
    inbox = Inbox()
    broker = connect(inbox)
    large = Outgoing(id="large", type="user.created", body=b"x" * 2_000_000)
    batch = [message("1"), large, message("2")]
    first = broker.publish(batch)
    assert type(first[1]) is BrokerError
    assert "2,000,000 bytes" in str(first[1])
    assert {type(first[0]), type(first[2])} <= {type(None), BrokerUnavailable}
    connected(broker)
    assert broker.publish([batch[0], batch[2]]) == [None, None]
    until(lambda: {b"1", b"2"} <= set(inbox.bodies()), "both messages")


def test_tls_works_with_an_authority_that_is_trusted_and_no_other(
    connect: Callable[..., RabbitMqBroker],
    rabbit: Rabbit,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """amqps:// connects when the authority is trusted; otherwise it says that the certificate can't be verified."""
    inbox = Inbox()
    connect(inbox, url=rabbit.tls_url(), wait=False)
    until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "the refusal")
    monkeypatch.setenv("SSL_CERT_FILE", str(rabbit.authority))
    broker = connect(inbox, url=rabbit.tls_url(), service="user-service")
    assert broker.publish([message("1")]) == [None]
    inbox.wait(1)
