"""What NATS itself brings: the rules of all brokers on the real server, and its own troubles."""

import asyncio
import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any

import msgspec
import psutil
import pytest

from bandstand.context import REGISTRY
from bandstand.events.brokers import Binding, Broker, BrokerOptions, looped
from bandstand.events.brokers.nats import NatsBroker, gaps, publisher, pull
from bandstand.events.brokers.nats.session import Session
from bandstand.exceptions import BrokerError, BrokerUnavailable
from bandstand.testing.broker_conformance import BrokerConformance, Inbox, message
from bandstand.topology.nats import permissions
from tests.integration.servers import Nats
from tests.waiting import GUARD, until

RIGHTS = permissions("shop", "order-service")["publish"]["allow"]  # the first is what it may publish
INBOUND = "shop-events-order-service"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer to a publisher comes from a limit in time: whatever is told, is told before."""
    monkeypatch.setattr(publisher, "_CONFIRM_TIMEOUT", 2 * GUARD)
    monkeypatch.setattr(looped, "_PATIENCE", 2 * GUARD)


class TestNatsBroker(BrokerConformance):
    lease = 2.0

    @pytest.fixture(autouse=True)
    def server(self, nats: Nats) -> None:
        self.nats = nats

    def build(self, options: BrokerOptions) -> Broker:
        self.nats.declare(options.platform, options.service)
        return NatsBroker(self.nats.url(), options)


def test_without_an_id_a_repetition_would_be_delivered(
    nats: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tooth of the duplicate window: what a relay sends twice comes twice when the broker does not know its id."""
    numbers = itertools.count()

    class Nameless(bytes):
        def __mod__(self, identifier: object) -> bytes:
            return bytes(self) % f"{time.time_ns()}-{next(numbers)}".encode()

    monkeypatch.setattr(publisher, "_HEAD", Nameless(publisher._HEAD))
    inbox = Inbox()
    broker = connect(nats.url(), inbox, "repetition.seen")
    connected(broker)
    twice = message(f"twice-{time.time_ns()}", event_type="repetition.seen")
    assert [*broker.publish([twice]), *broker.publish([twice])] == [None, None]
    inbox.wait(2)


def test_without_reconciling_a_changed_filter_would_leave_a_service_deaf(
    nats: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tooth of the durable consumers: one that is only made where it is missing keeps the old release's filter."""

    async def only_make(self: Session, binding: Binding) -> None:
        name = self._names.durable(binding.subscription)
        if name not in {each.name for each in await self._stream.consumers_info(self._names.inbound)}:
            await declare(self, binding)

    declare = Session.declare_consumer
    first = connect(nats.url(), Inbox(), "filter.old")
    connected(first)
    first.close()
    monkeypatch.setattr(Session, "declare_consumer", only_make)
    inbox = Inbox()
    deaf = connect(nats.url(), inbox, "filter.new")
    connected(deaf)
    new, old = (message(f"{kind}-{time.time_ns()}", event_type=kind) for kind in ("filter.new", "filter.old"))
    assert deaf.publish([new, old]) == [None, None]
    assert [each.type for each in inbox.wait(1)] == ["filter.old"]
    deaf.close()
    monkeypatch.undo()
    hearing = connect(nats.url(), inbox, "filter.new")
    connected(hearing)
    again = message(f"again-{time.time_ns()}", event_type="filter.new")
    assert hearing.publish([again]) == [None]
    until(lambda: again.body in inbox.bodies(), "the event of the new type")


@pytest.fixture
def own() -> Iterator[Nats]:
    """A server that a test may kill."""
    server = Nats({"order-service": RIGHTS})
    with contextlib.closing(server):
        server.start()
        server.declare("shop", "order-service")
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., NatsBroker]]:
    opened: list[NatsBroker] = []

    def connect(url: str, receiver: Any = None, pattern: str = "user.created", lease: float = 2.0) -> NatsBroker:
        broker = NatsBroker(url, BrokerOptions(platform="shop", service="order-service", lease=lease))
        if receiver is not None:
            broker.consume([Binding(subscription="a", pattern=pattern)], receiver)
        broker.open(lambda: None)
        opened.append(broker)
        return broker

    yield connect
    for broker in opened:
        broker.close()


def connected(broker: NatsBroker) -> None:
    until(lambda: broker.connected, "a connection")


def disconnected(broker: NatsBroker) -> None:
    until(lambda: not broker.connected, "the loss of the connection to be seen")


def test_a_killed_server_is_found_again(own: Nats, connect: Callable[..., NatsBroker]) -> None:
    """After SIGKILL of the server and its return the same broker works again, and lost nothing; meanwhile it says so at
    once, and waits for no confirmation.
    """
    inbox = Inbox()
    broker = connect(own.url(), inbox)
    connected(broker)
    assert broker.publish([message("1")]) == [None]
    own.kill()
    disconnected(broker)
    [error] = broker.publish([message("2")])
    assert isinstance(error, BrokerUnavailable)
    own.start()
    connected(broker)
    assert broker.publish([message("2")]) == [None]
    inbox.wait(2)
    assert sorted(set(inbox.bodies())) == [b"1", b"2"]


def test_a_client_that_closes_in_silence_is_noticed(
    own: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's callback is not relied on: it does not come when closing itself fails."""

    async def silence(session: Session) -> None: ...

    monkeypatch.setattr(Session, "_on_lost", silence)
    broker = connect(own.url())
    connected(broker)
    own.kill()
    disconnected(broker)
    own.start()
    connected(broker)
    assert broker.publish([message("1")]) == [None]


def test_messages_in_flight_when_the_server_dies_are_told_at_once(
    own: Nats, connect: Callable[..., NatsBroker]
) -> None:
    """A batch that waits for confirmations when the connection breaks ends then, each message with its answer."""
    broker = connect(own.url())
    connected(broker)
    assert own.process is not None
    server = psutil.Process(own.process.pid)
    own.process.send_signal(signal.SIGSTOP)  # the server takes bytes and answers nothing
    until(lambda: server.status() == psutil.STATUS_STOPPED, "the server to stand still")
    outcome: list[list[BrokerError | None]] = []
    done = Event()

    def publish() -> None:
        outcome.append(broker.publish([message(str(number)) for number in range(50)]))
        done.set()

    Thread(target=publish, daemon=True).start()
    until(lambda: len(broker._session._publisher._flying) == 50, "the batch to be on its way")  # type: ignore[union-attr]
    own.kill()
    assert done.wait(GUARD)
    assert {type(error) for error in outcome[0]} == {BrokerUnavailable}, outcome[0][:3]


@pytest.mark.parametrize("what", ["published", "inbound", "consumer"])
def test_what_is_deleted_is_declared_again(own: Nats, connect: Callable[..., NatsBroker], what: str) -> None:
    """A consumer that somebody deletes comes back by itself, a stream by the administrator's step; messages flow on."""
    inbox = Inbox()
    broker = connect(own.url(), inbox)
    connected(broker)
    assert broker.publish([message("1")]) == [None]
    inbox.wait(1)

    async def delete(stream: Any) -> None:
        if what == "consumer":
            await stream.delete_consumer(INBOUND, "order-service__a")
        else:
            await stream.delete_stream("shop-events" if what == "published" else INBOUND)

    own.jetstream(delete)
    own.declare("shop", "order-service")
    until(lambda: broker.publish([message("2")]) == [None], "it to be declared again")
    until(lambda: b"2" in inbox.bodies(), "the message")


def test_a_request_that_the_server_lost_is_made_again(
    nats: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose end nobody tells is lost, and another takes its place; nothing comes until somebody watches."""
    monkeypatch.setattr(pull, "_EXPIRES", 1)
    lost, watched = Event(), Event()
    say, watch = pull.Pull._say, pull.Pull._watch

    async def lose_the_first(self: pull.Pull, subject: str, answer: bytes, reply: str = "") -> None:
        if lost.is_set() or not reply:
            await say(self, subject, answer, reply)
        lost.set()

    async def watch_later(self: pull.Pull) -> None:
        await asyncio.to_thread(watched.wait, GUARD)
        await watch(self)

    async def state(stream: Any) -> tuple[int, int]:
        found = await stream.consumer_info(INBOUND, "order-service__a")
        return found.num_pending, found.num_waiting or 0

    monkeypatch.setattr(pull.Pull, "_say", lose_the_first)
    monkeypatch.setattr(pull.Pull, "_watch", watch_later)
    inbox = Inbox()
    broker = connect(nats.url(), inbox, "lost.seen")
    connected(broker)
    assert broker.publish([message(f"lost-{time.time_ns()}", event_type="lost.seen")]) == [None]
    until(lambda: nats.jetstream(state) == (1, 0), "a message to wait, and no request")
    watched.set()
    inbox.wait(1)


def test_a_request_that_ends_is_followed_by_the_next(
    nats: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet consumer asks again each time that a request has expired, and takes none for lost."""
    monkeypatch.setattr(pull, "_EXPIRES", 1)
    made, lost = [], []
    request, begin_again = pull.Pull._request, pull.Pull._begin_again

    async def counted(self: pull.Pull) -> None:
        made.append(self._requested)
        await request(self)

    def noticed(self: pull.Pull) -> None:
        lost.append(self)
        begin_again(self)

    monkeypatch.setattr(pull.Pull, "_request", counted)
    monkeypatch.setattr(pull.Pull, "_begin_again", noticed)
    inbox = Inbox()
    broker = connect(nats.url(), inbox, "quiet.seen")
    until(lambda: len(made) >= 4, "four requests")
    assert set(made) == {0}, "each asks once the one before has ended"
    assert broker.publish([message(f"quiet-{time.time_ns()}", event_type="quiet.seen")]) == [None]
    inbox.wait(1)
    assert lost == []


def test_answers_that_still_wait_are_sent_at_the_end(
    nats: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long answers gather: what was acknowledged before a clean stop never comes again."""
    monkeypatch.setattr(pull, "_GATHER", 60.0)
    inbox = Inbox()
    broker = connect(nats.url(), inbox, "gathered.seen", lease=60.0)
    connected(broker)
    broker.publish([message(f"gathered-{time.time_ns()}", event_type="gathered.seen")])
    inbox.wait(1)
    assert broker.waiting(["a"], GUARD)["a"].unsettled == 1
    broker.close()
    assert broker.waiting(["a"], GUARD)["a"].unsettled == 0


def test_a_stream_of_the_operator_s_keeps_its_configuration(own: Nats, connect: Callable[..., NatsBroker]) -> None:
    """A stream that was made with other limits is used as it is."""

    async def make(stream: Any) -> None:
        await stream.delete_stream("shop-events")
        await stream.add_stream(name="shop-events", subjects=["shop.events.>"], max_age=3600)

    own.jetstream(make)
    own.declare("shop", "order-service")
    broker = connect(own.url())
    connected(broker)
    assert broker.publish([message("1")]) == [None]

    async def age(stream: Any) -> float:
        return float((await stream.stream_info("shop-events")).config.max_age)

    assert own.jetstream(age) == 3600


def test_a_service_speaks_in_its_own_name_only(own: Nats, connect: Callable[..., NatsBroker]) -> None:
    """With the permissions of the platform a service publishes its own events; its password may need quoting."""
    inbox = Inbox()
    broker = connect(own.url("order-service"), inbox, "order.placed")
    connected(broker)
    assert broker.publish([message("1", "order.placed")]) == [None]
    inbox.wait(1)


def test_what_a_user_may_not_publish_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A permission that is missing is an error of the message, told at once and in words, never only a time-out."""
    server = Nats({"order-service": RIGHTS[1:]})
    broker = NatsBroker(server.url("order-service"), BrokerOptions(platform="shop", service="order-service"))
    with contextlib.closing(server), contextlib.closing(broker):
        server.start()
        server.declare("shop", "order-service")
        broker.open(lambda: None)
        connected(broker)
        [error] = broker.publish([message("1", "order.placed")])
    assert type(error) is BrokerError
    assert "shop.events.order-service.order.placed" in str(error)
    assert "permissions of its user must be changed" in caplog.text


def test_a_user_without_jetstream_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    """Where not even the stream may be asked for, the log names user and subject instead of a time-out."""
    caplog.set_level(logging.WARNING)
    server = Nats({"order-service": ["shop.>"]})
    broker = NatsBroker(server.url("order-service"), BrokerOptions(platform="shop", service="order-service"))
    with contextlib.closing(server), contextlib.closing(broker):
        server.start()
        broker.open(lambda: None)
        until(lambda: "refuses the user 'order-service'" in caplog.text, "the refusal")
    assert "$js.api.stream.info.shop-events-order-service" in caplog.text  # the client writes it in lower case


def test_a_wrong_password_is_told_so_once(
    own: Nats, connect: Callable[..., NatsBroker], caplog: pytest.LogCaptureFixture
) -> None:
    """The log says whose password it is, once and not at each attempt, and never the password."""
    caplog.set_level(logging.WARNING)
    broker = connect(own.url("order-service").replace("pass%20word", "wrong-pass-word"))
    log = own.folder / "log"
    until(lambda: log.read_text().count("authentication error") >= 3, "three attempts")
    until(lambda: "does not know the user 'order-service'" in caplog.text, "the refusal")
    assert not broker.connected
    assert caplog.text.count("does not know the user") == 1
    assert "wrong-pass-word" not in caplog.text


def test_a_server_that_is_not_there_is_waited_for(
    connect: Callable[..., NatsBroker], caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that starts before its broker connects when the broker is up."""
    server = Nats()
    with contextlib.closing(server):
        broker = connect(server.url())
        until(lambda: "NATS" in caplog.text, "the first attempt to fail")
        assert not broker.connected
        server.start()
        until(lambda: "python -m bandstand.topology shop" in caplog.text, "the way out to be told")
        server.declare("shop", "order-service")
        connected(broker)


def test_a_message_above_the_server_s_limit_is_its_own_error(nats: Nats, connect: Callable[..., NatsBroker]) -> None:
    """A message that is too large fails alone; those beside it go through."""
    broker = connect(nats.url())
    connected(broker)
    large = message("large")
    large = type(large)(id="large", type=large.type, body=b"x" * 2_000_000)
    first, second, third = broker.publish([message("1"), large, message("2")])
    assert (first, third) == (None, None)
    assert type(second) is BrokerError
    assert "2,000,000 bytes" in str(second)


@pytest.mark.parametrize(
    "change", [{"type": "order.placed 1"}, {"type": "order.placed\r\nPUB x 0"}, {"id": "1\r\nStatus: 503"}]
)
def test_what_would_be_another_command_is_refused_alone(
    nats: Nats, connect: Callable[..., NatsBroker], change: dict[str, str]
) -> None:
    """A type or id that would break the protocol, as one written by hand, fails; those beside it go through."""
    broker = connect(nats.url())
    connected(broker)
    first, second, third = broker.publish([message("1"), msgspec.structs.replace(message("x"), **change), message("2")])
    assert (first, third) == (None, None)
    assert type(second) is BrokerError
    assert "can't be written in NATS" in str(second)


def test_batches_of_several_threads_keep_their_outcomes(nats: Nats, connect: Callable[..., NatsBroker]) -> None:
    """Two relays in one process publish at the same time, and each is told of its own messages."""
    broker = connect(nats.url())
    connected(broker)
    good = [message(f"good-{number}") for number in range(200)]
    bad = [msgspec.structs.replace(message(f"bad-{number}"), type="a b") for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(broker.publish, [good, bad] * 10))
    assert all(outcomes == [None] * 200 for outcomes in found[::2])
    assert all(None not in outcomes for outcomes in found[1::2])


def test_a_limit_of_the_operator_that_drops_unread_events_is_seen(
    own: Nats, connect: Callable[..., NatsBroker], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A consumer goes on with the next message as if nothing had been: the log and a metric say what is missing."""
    monkeypatch.setattr(gaps, "_INTERVAL", 0.1)

    async def limit(stream: Any) -> None:
        await stream.update_stream((await stream.stream_info(INBOUND)).config, max_msgs=300)

    own.jetstream(limit)
    inbox = Inbox(acknowledge=False)
    broker = connect(own.url(), inbox, "gap.seen", lease=GUARD)
    connected(broker)
    early = [message(f"early-{number}", event_type="gap.seen") for number in range(300)]
    assert set(broker.publish(early)) == {None}
    watch = broker._gaps
    # Two looks: the last of them saw all that was published, and nothing has been delivered since.
    until(lambda: [look.last for look in watch._looks.get("a", ())].count(300) > 1, "looks at what waits")
    waiting = watch._looks["a"][-1].pending
    assert 0 < waiting == 300 - len(inbox.received)
    late = [message(f"late-{number}", event_type="gap.seen") for number in range(300)]
    assert set(broker.publish(late)) == {None}
    until(lambda: missed(caplog), "what is missing to be said")
    assert missed(caplog) == waiting
    assert (REGISTRY.get_sample_value("bandstand_events_missed_total", {"subscription": "a"}) or 0) >= waiting


def missed(caplog: pytest.LogCaptureFixture) -> int:
    """Return the number of missed events in the log."""
    return sum(getattr(record, "at_least", 0) for record in caplog.records)
