"""A consumer without threads, a broker that does as it is told, and time that passes when a test says so."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bandstand.conf.settings import EventsSettings
from bandstand.context import new_context
from bandstand.events import Event
from bandstand.events.brokers import Broker, BrokerOptions, Incoming, Outgoing
from bandstand.events.consumer import Consumer
from bandstand.events.envelope import encode
from bandstand.events.lanes import Lanes
from bandstand.events.models import Delivery
from bandstand.events.subscriptions import Registry, Subscription
from bandstand.exceptions import BrokerError


class UserCreated(Event, type="user.created", version=1):
    user_id: str
    email: str = ""


class InlineLanes(Lanes):
    """Runs each job at once, on the thread of the test, or keeps it until the test lets it go."""

    def __init__(self) -> None:
        super().__init__(0, lambda: None)
        self.busy = False
        self._kept: list[Callable[[], None]] = []

    def submit(self, group: str, key: str, job: Callable[[], None]) -> None:
        if self.busy:
            self._kept.append(job)
        else:
            job()

    def go(self) -> None:
        """A thread is free again."""
        self.busy = False
        while self._kept:
            self._kept.pop(0)()


class FakeIncoming(Incoming):
    def __init__(
        self, subscription: str, body: bytes, *, broker_id: str = "broker-1", repeated: bool = False, source: str = ""
    ) -> None:
        super().__init__(
            subscription=subscription,
            id=broker_id,
            body=body,
            repeated=repeated,
            source=source or "user-service",
            type="user.created",
        )
        self.settled: list[str] = []

    def acknowledge(self) -> None:
        self.settled.append("acknowledged")

    def release(self, delay: float) -> None:
        self.settled.append(f"released for {delay}")


class FakeBroker(Broker):
    """Confirms everything, except what ``outcome`` says otherwise about."""

    def __init__(self) -> None:
        super().__init__("fake://", BrokerOptions(platform="tests", service="test-service"))
        self.batches: list[list[Outgoing]] = []
        self.outcome: Callable[[Outgoing], BrokerError | None] = lambda message: None
        self.up = True

    @property
    def connected(self) -> bool:
        return self.up

    @property
    def confirmed(self) -> list[Outgoing]:
        return [message for batch in self.batches for message in batch if self.outcome(message) is None]

    def open(self, changed: Callable[[], None]) -> None:
        changed()

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        self.batches.append(list(messages))
        return [self.outcome(message) for message in messages]

    def consume(self, bindings: Any, receiver: Any) -> None:
        pass

    def stop_consuming(self) -> None:
        pass

    def close(self) -> None:
        pass


class Desk:
    """A service with handlers, to which a test brings events."""

    def __init__(self, settings: EventsSettings | None = None) -> None:
        self.settings = settings or EventsSettings()
        self.registry = Registry()
        self.lanes = InlineLanes()
        self.consumer = Consumer(FakeBroker(), self.registry, self.settings, lanes=self.lanes)

    def handle(
        self,
        handler: Callable[..., object],
        pattern: str = "user.created",
        name: str = "welcome",
        batch: int | None = None,
    ) -> None:
        self.registry.add(Subscription(name=name, pattern=pattern, handler=handler, batch=batch))

    def bring(
        self,
        event: Event | bytes,
        *,
        message_id: str = "message-1",
        key: str = "7",
        to: str = "welcome",
        repeated: bool = False,
        source: str = "",
        broker_id: str = "broker-1",
    ) -> FakeIncoming:
        body = event if isinstance(event, bytes) else body_of(event, message_id=message_id, key=key)
        incoming = FakeIncoming(to, body, repeated=repeated, source=source, broker_id=broker_id)
        self.consumer.receive(incoming)
        return incoming

    def pass_time(self, seconds: float = 1000.0) -> None:
        """Let everything that waits be due, then let the retrier do its turn."""
        for row in Delivery.objects.all():
            Delivery.objects.filter(pk=row.pk).update(due_at=row.due_at - timedelta(seconds=seconds))
        self.consumer.retrier.turn()


def body_of(event: Event, *, message_id: str = "message-1", key: str = "7", source: str = "user-service") -> bytes:
    return encode(event, id=message_id, source=source, key=key, context=new_context(correlation_id="correlation-1"))


@pytest.fixture
def desk(db: None) -> Desk:
    return Desk()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def now() -> Callable[[], Any]:
    return timezone.now
