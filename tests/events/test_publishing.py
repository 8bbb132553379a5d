from typing import Any
from uuid import UUID

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction

from bandstand.context import bind, new_context
from bandstand.events import Event, publish, wakeup
from bandstand.events.models import OutboxMessage
from bandstand.exceptions import InvalidEvent, NotInTransaction
from bandstand.testing.events import published_events

from .conftest import UserCreated


class Untyped(Event):
    name: str


class Interrupted(Exception):
    pass


def publish_and_fail(user_id: str) -> None:
    with transaction.atomic():
        publish(UserCreated(user_id=user_id), key=user_id)
        raise Interrupted


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_published() -> None:
    """publish() without a transaction says what to do, and writes nothing."""
    with pytest.raises(NotInTransaction, match=r"with transaction\.atomic\(\)"):
        publish(UserCreated(user_id="1"), key="1")
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_event_is_published_with_its_transaction_or_not_at_all() -> None:
    """What is rolled back tells nobody."""
    with pytest.raises(Interrupted):
        publish_and_fail("1")
    assert published_events() == []
    with transaction.atomic():
        identifier = publish(UserCreated(user_id="2"), key="2")
    [event] = published_events()
    assert (event.id, event.key, event.data["user_id"], event.delivered) == (identifier, "2", "2", False)


@pytest.mark.django_db
def test_a_rolled_back_savepoint_takes_its_events_with_it() -> None:
    """Only the events of what lasts are left."""
    with transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
        with pytest.raises(Interrupted):
            publish_and_fail("2")
    assert [event.data["user_id"] for event in published_events()] == ["1"]


@pytest.mark.django_db
def test_an_event_carries_the_context() -> None:
    """Correlation id, cause and trace of the work that publishes go along."""
    context = new_context(correlation_id="correlation-1", causation_id="cause-1")
    with bind(context), transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    [event] = published_events("user.created")
    assert event.message.correlation_id == "correlation-1"
    assert event.message.causation_id == "cause-1"
    assert event.message.trace is not None
    assert event.message.trace.trace_id == context.trace.trace_id
    assert event.message.source == "test-service"


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "a\x00b", 7, None, b"1", UUID(int=1)])
def test_a_key_is_short_text(key: Any) -> None:
    """A key that a row or a subject could not hold, or that is no text as the id of a model, is refused at once."""
    with pytest.raises(InvalidEvent, match=r"with the key .*key=str\(order\.pk\)"):
        publish(UserCreated(user_id="1"), key=key)


@pytest.mark.django_db
@pytest.mark.parametrize("event", [{"user_id": "1"}, UserCreated, None])
def test_only_an_event_is_published(event: Any) -> None:
    """Whoever publishes a dictionary, or the class itself, is told how an event is written."""
    with pytest.raises(InvalidEvent, match=r"takes an event, not .*class OrderPlaced\(Event"):
        publish(event, key="1")


@pytest.mark.django_db
def test_an_event_that_brokers_refuse_is_refused_here() -> None:
    """An event above the limit would wait in the outbox for ever."""
    with pytest.raises(InvalidEvent, match="524,288"):
        publish(UserCreated(user_id="x" * 600_000), key="1")
    assert published_events() == []


@pytest.mark.django_db
def test_a_view_can_t_be_published() -> None:
    """A class without a type is only for reading."""
    with pytest.raises(InvalidEvent, match="has no type"):
        publish(Untyped(name="x"), key="1")


class FakePostgres:
    """What on_commit() asks of a connection."""

    vendor = "postgresql"
    alias = "default"

    def __init__(self) -> None:
        self.run_on_commit: list[tuple[set[str], object, bool]] = []


def test_a_transaction_notifies_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events a transaction publishes, it wakes the relay once; a rolled back savepoint does not count."""
    fake = FakePostgres()
    monkeypatch.setattr(
        wakeup, "django_on_commit", lambda function, **_: fake.run_on_commit.append((set(), function, True))
    )
    for _ in range(3):
        wakeup.on_commit(fake)  # type: ignore[arg-type]
    assert len(fake.run_on_commit) == 1
    fake.run_on_commit.clear()  # as Django does when the savepoint that held it is rolled back
    wakeup.on_commit(fake)  # type: ignore[arg-type]
    assert len(fake.run_on_commit) == 1


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed"), ValueError("anything")])
@pytest.mark.django_db(transaction=True)
def test_what_is_committed_succeeds_though_nobody_can_be_woken(error: Exception) -> None:
    """A database that dies between the commit and NOTIFY fails no write: the client must not be told that it did."""

    class Dying(FakePostgres):
        def cursor(self) -> None:
            raise error

    with transaction.atomic():
        wakeup.django_on_commit(wakeup._Notify(Dying()), robust=True)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_a_database_that_can_t_notify_is_left_alone() -> None:
    """On SQLite nothing is registered; the relay looks by itself."""
    wakeup.on_commit(connection)
    assert connection.run_on_commit == []
