"""What every broker must do. Subclass it in your tests, and give it a broker of yours::

class TestMyBroker(BrokerConformance):
    def build(self, options: BrokerOptions) -> Broker:
        return MyBroker("my://localhost", options)
"""

from collections.abc import Callable, Collection, Iterator
from threading import Condition, Event
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import pytest

from bandstand.events.brokers import Binding, Broker, BrokerOptions, Incoming, Outgoing
from bandstand.exceptions import BrokerUnavailable

__all__ = ["BrokerConformance", "Inbox"]

_PATIENCE: Final = 120.0  # seconds after which a test that waits in vain ends; no broker is judged by it


class Inbox:
    """Keeps what a broker brings; settles it at once unless told not to."""

    def __init__(self, *, acknowledge: bool = True) -> None:
        self.received: list[Incoming] = []
        self._acknowledge = acknowledge
        self._changed = Condition()

    def __call__(self, incoming: Incoming) -> None:
        with self._changed:
            self.received.append(incoming)
            self._changed.notify_all()
        if self._acknowledge:
            incoming.acknowledge()

    def bodies(self, subscription: str = "") -> list[bytes]:
        """Return what came, in order: all of it, or for one subscription."""
        with self._changed:
            return [each.body for each in self.received if subscription in {"", each.subscription}]

    def wait(self, count: int) -> list[Incoming]:
        """Wait until ``count`` messages came, and return all that did."""
        deadline = monotonic() + _PATIENCE
        with self._changed:
            while len(self.received) < count:
                left = deadline - monotonic()
                assert left > 0, f"only {len(self.received)} of {count} messages came"
                self._changed.wait(left)
            return list(self.received)


class BrokerConformance:
    """The rules, one test each. ``build`` returns a broker not yet open; each test has a platform of its own."""

    lease: float = 2.0
    """Seconds; long enough for a machine that is busy."""
    drops_repetitions: bool = True
    """Whether the broker itself drops a second message with the same id. Where it can't, only the inbox does."""

    def build(self, options: BrokerOptions) -> Broker:
        raise NotImplementedError

    @pytest.fixture
    def connect(self) -> Iterator[Callable[..., Broker]]:
        platform = f"c{uuid4().hex[:10]}"
        opened: list[Broker] = []

        def connect(
            service: str = "order-service",
            receiver: Callable[[Incoming], None] | None = None,
            patterns: Collection[tuple[str, str]] = (),
            prefetch: int = 16,
        ) -> Broker:
            options = BrokerOptions(platform=platform, service=service, lease=self.lease, prefetch=prefetch)
            broker = self.build(options)
            if receiver is not None:
                bindings = [Binding(subscription=name, pattern=pattern) for name, pattern in patterns]
                broker.consume(bindings, receiver)
            up = Event()
            broker.open(up.set)
            assert up.wait(_PATIENCE), "the broker did not connect"
            opened.append(broker)
            return broker

        yield connect
        for broker in opened:
            broker.close()

    def test_each_subscription_gets_each_event(self, connect: Callable[..., Broker]) -> None:
        """An event reaches every subscription of its type, in one service and in several, and no other."""
        orders, users = Inbox(), Inbox()
        connect("order-service", orders, [("a", "user.created"), ("b", "user.created"), ("c", "user.deleted")])
        publisher = connect("user-service", users, [("a", "user.created")])
        assert publisher.publish([message("1")]) == [None]
        orders.wait(2)
        users.wait(1)
        assert (orders.bodies("a"), orders.bodies("b"), orders.bodies("c")) == ([b"1"], [b"1"], [])
        assert users.bodies() == [b"1"]
        assert {(each.source, each.type, each.repeated) for each in orders.received} == {
            ("user-service", "user.created", False)
        }

    def test_a_star_stands_for_one_word(self, connect: Callable[..., Broker]) -> None:
        """Patterns match whole words."""
        inbox = Inbox()
        broker = connect("order-service", inbox, [("any", "user.*")])
        broker.publish([message("1"), message("2", "user.mail.sent"), message("3", "user.deleted")])
        inbox.wait(2)
        assert inbox.bodies() == [b"1", b"3"]

    def test_a_new_subscription_gets_what_was_published_before(self, connect: Callable[..., Broker]) -> None:
        """Events published before a service first started are kept for it."""
        connect("user-service").publish([message("1")])
        inbox = Inbox()
        connect("order-service", inbox, [("late", "user.created")])
        inbox.wait(1)
        assert inbox.bodies() == [b"1"]

    def test_the_same_message_twice_is_dropped(self, connect: Callable[..., Broker]) -> None:
        """A relay that died between confirmation and record publishes again; the broker knows the id, if it can."""
        inbox = Inbox()
        broker = connect("user-service", inbox, [("a", "user.created")])
        assert broker.publish([message("1")]) == [None]
        assert broker.publish([message("1"), message("2")]) == [None, None]
        wanted = [b"1", b"2"] if self.drops_repetitions else [b"1", b"1", b"2"]
        inbox.wait(len(wanted))
        assert inbox.bodies() == wanted

    def test_many_messages_are_confirmed_at_once_and_come_in_order(self, connect: Callable[..., Broker]) -> None:
        """A large batch is confirmed as a whole, and brought in the order of its publication."""
        inbox = Inbox()
        broker = connect("user-service", inbox, [("a", "user.created")])
        batch = [message(str(number)) for number in range(500)]
        assert broker.publish(batch) == [None] * 500
        inbox.wait(500)
        assert inbox.bodies() == [each.body for each in batch]

    def test_a_released_message_comes_again_and_says_so(self, connect: Callable[..., Broker]) -> None:
        """What is given back comes again, marked as repeated, and not before its time."""
        inbox = Inbox(acknowledge=False)
        broker = connect("user-service", inbox, [("a", "user.created")])
        broker.publish([message("1")])
        [first] = inbox.wait(1)
        released = monotonic()
        first.release(0.2)
        _, second = inbox.wait(2)
        assert monotonic() - released >= 0.19
        assert (first.repeated, second.repeated, second.body) == (False, True, b"1")
        second.acknowledge()

    def test_what_nobody_settled_comes_again(self, connect: Callable[..., Broker]) -> None:
        """A consumer that goes without settling a message leaves it to the next."""
        forgetful, inbox = Inbox(acknowledge=False), Inbox()
        broker = connect("order-service", forgetful, [("a", "user.created")])
        broker.publish([message("1")])
        forgetful.wait(1)
        broker.close()
        connect("order-service", inbox, [("a", "user.created")])
        [again] = inbox.wait(1)
        assert (again.body, again.repeated) == (b"1", True)

    def test_what_was_acknowledged_never_comes_again(self, connect: Callable[..., Broker]) -> None:
        """After a clean stop and a new start only what is new is brought."""
        before, after = Inbox(), Inbox()
        broker = connect("order-service", before, [("a", "user.created")])
        broker.publish([message(str(number)) for number in range(50)])
        before.wait(50)
        broker.stop_consuming()
        broker.close()
        broker = connect("order-service", after, [("a", "user.created")])
        broker.publish([message("new")])
        after.wait(1)
        assert after.bodies() == [b"new"]

    def test_a_changed_pattern_takes_effect(self, connect: Callable[..., Broker]) -> None:
        """A subscription that listens to another type after a new release hears it."""
        before, after = Inbox(), Inbox()
        connect("order-service", before, [("a", "user.created")]).close()
        broker = connect("order-service", after, [("a", "user.deleted")])
        broker.publish([message("1", "user.created"), message("2", "user.deleted")])
        after.wait(1)
        assert after.bodies() == [b"2"]

    def test_no_more_than_the_prefetch_is_brought(self, connect: Callable[..., Broker]) -> None:
        """A consumer that settles nothing gets so many messages, and the rest when it settles."""
        inbox = Inbox(acknowledge=False)
        broker = connect("order-service", inbox, [("a", "user.created")], prefetch=4)
        broker.publish([message(str(number)) for number in range(10)])
        held = inbox.wait(4)
        with pytest.raises(AssertionError, match="only 4"):
            _impatient(inbox, 5)
        for incoming in held:
            incoming.acknowledge()
        for incoming in inbox.wait(8)[4:]:
            incoming.acknowledge()
        for incoming in inbox.wait(10)[8:]:
            incoming.acknowledge()

    def test_what_takes_its_time_is_not_brought_again(self, connect: Callable[..., Broker]) -> None:
        """A message that is worked on for several leases stays with its consumer."""
        inbox = Inbox(acknowledge=False)
        broker = connect("order-service", inbox, [("a", "user.created")])
        broker.publish([message("1")])
        [incoming] = inbox.wait(1)
        Event().wait(2.5 * self.lease)
        assert len(inbox.received) == 1
        incoming.acknowledge()

    def test_a_closed_broker_confirms_nothing(self, connect: Callable[..., Broker]) -> None:
        """Without a connection each message has its error, and nobody is told otherwise."""
        broker = connect("user-service")
        broker.close()
        assert not broker.connected
        [error] = broker.publish([message("1")])
        assert isinstance(error, BrokerUnavailable)


def message(text: str, event_type: str = "user.created") -> Outgoing:
    """Return a message whose id and body are ``text``."""
    return Outgoing(id=text, type=event_type, body=text.encode())


def _impatient(inbox: Any, count: int) -> None:
    """Wait shortly for what must not come."""
    deadline = monotonic() + 0.3
    while len(inbox.received) < count:
        assert monotonic() < deadline, f"only {len(inbox.received)} came"
        Event().wait(0.01)
