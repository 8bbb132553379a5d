from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from bandstand.conf.settings import EventsSettings
from bandstand.events import publish
from bandstand.events.models import OutboxMessage
from bandstand.events.outbox import OutboxRow, open_outbox
from bandstand.events.relay import Relay, waves
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable

from .conftest import FakeBroker, UserCreated

pytestmark = pytest.mark.django_db


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses, and connections that outlive the relay."""
    monkeypatch.setattr("bandstand.events.relay.time.sleep", lambda seconds: None)
    monkeypatch.setattr("bandstand.events.relay.connections.close_all", lambda: None)


@pytest.fixture
def relay(broker: FakeBroker, quick: None) -> Relay:
    return Relay(broker, open_outbox("default"), EventsSettings(batch=10))


def write(*keys: str) -> list[str]:
    """Publish an event for each key and return their ids."""
    with transaction.atomic():
        return [publish(UserCreated(user_id=str(number)), key=key) for number, key in enumerate(keys)]


def sent() -> list[str]:
    return list(OutboxMessage.objects.exclude(sent_at=None).order_by("id").values_list("message_id", flat=True))


def row(position: int, key: str) -> OutboxRow:
    return OutboxRow(position=position, message_id=str(position), type="a.b", key=key, body="{}", attempts=0)


@given(st.lists(st.sampled_from("abcd")))
def test_a_wave_has_one_row_of_a_key_and_waves_keep_the_order(keys: list[str]) -> None:
    """All rows are sent, no key twice in a wave, and each key's rows in their order."""
    rows = [row(position, key) for position, key in enumerate(keys)]
    found = list(waves(rows))
    assert sorted(each.position for wave in found for each in wave) == [each.position for each in rows]
    for wave in found:
        assert len({each.key for each in wave}) == len(wave)
    for key in set(keys):
        positions = [each.position for wave in found for each in wave if each.key == key]
        assert positions == sorted(positions)


def test_different_keys_are_in_flight_at_once(relay: Relay, broker: FakeBroker) -> None:
    """Events of different keys go in one batch of confirmations."""
    ids = write("a", "b", "c")
    assert relay.relay() == 3
    assert [[message.id for message in batch] for batch in broker.batches] == [ids]


def test_a_row_counts_as_sent_only_when_it_is_confirmed(relay: Relay, broker: FakeBroker) -> None:
    """While the broker does not confirm, rows stay, nothing is counted against them, and they go later."""
    ids = write("a", "b")
    broker.outcome = lambda message: BrokerUnavailable("down")
    assert relay.relay() == 0
    assert sent() == []
    assert set(OutboxMessage.objects.values_list("attempts", "held_until")) == {(0, None)}
    broker.outcome = lambda message: None
    assert relay.relay() == 2
    assert sent() == ids


def test_an_unroutable_event_stays(relay: Relay, broker: FakeBroker) -> None:
    """No stream, no loss: the row is tried again, with nothing counted against it."""
    [identifier] = write("a")
    broker.outcome = lambda message: Unroutable("no stream")
    assert relay.relay() == 0
    broker.outcome = lambda message: None
    assert relay.relay() == 1
    assert sent() == [identifier]


def test_a_row_that_can_t_be_sent_parks_only_its_own_key(relay: Relay, broker: FakeBroker) -> None:
    """The younger events of its key wait behind it; all other keys go on, now and in later batches."""
    bad, behind, other = write("a", "a", "b")
    broker.outcome = lambda message: BrokerError("too large") if message.id == bad else None
    assert relay.relay() == 1
    assert sent() == [other]
    [late] = write("c")
    assert relay.relay() == 1
    assert sent() == [other, late]
    parked = OutboxMessage.objects.get(message_id=bad)
    assert (parked.attempts, parked.error) == (1, "too large")
    assert parked.held_until is not None
    assert behind not in [message.id for batch in broker.batches for message in batch], "order would be lost"


def test_a_parked_key_goes_on_in_order(relay: Relay, broker: FakeBroker) -> None:
    """Once the parked event goes through, those behind it follow in their order."""
    ids = write("a", "a", "a")
    broker.outcome = lambda message: BrokerError("too large")
    relay.relay()
    broker.outcome = lambda message: None
    OutboxMessage.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    before = len(broker.batches)
    assert relay.relay() == 3
    assert [message.id for batch in broker.batches[before:] for message in batch] == ids


def test_parking_takes_longer_each_time(relay: Relay, broker: FakeBroker) -> None:
    """A row that fails again and again is tried more and more rarely, at most once a minute apart."""
    write("a")
    broker.outcome = lambda message: BrokerError("no")
    delays = []
    for _ in range(8):
        OutboxMessage.objects.update(held_until=None)
        relay.relay()
        held = OutboxMessage.objects.get().held_until
        assert held is not None
        delays.append(round((held - timezone.now()).total_seconds()))
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_failure_in_the_middle_stops_the_key_there(relay: Relay, broker: FakeBroker) -> None:
    """When the broker goes away after the first event of a key, the second is not sent before the first is settled."""
    ids = write("a", "a", "b", "b")
    broker.outcome = lambda message: BrokerUnavailable("gone") if message.id == ids[2] else None
    assert relay.relay() == 1
    assert [[message.id for message in batch] for batch in broker.batches] == [[ids[0], ids[2]]]
    broker.outcome = lambda message: None
    relay.relay()
    assert sent() == ids


def test_what_another_relay_holds_is_left_alone(relay: Relay, broker: FakeBroker) -> None:
    """A row in flight elsewhere keeps its whole key from us; other keys are ours."""
    first, second, other = write("a", "a", "b")
    claimed = open_outbox("default").claim(1, 60.0)
    assert [each.message_id for each in claimed] == [first]
    assert relay.relay() == 1
    assert sent() == [other]
    open_outbox("default").mark_sent(claimed)
    assert relay.relay() == 1
    assert sent() == [first, second, other]


def test_a_lease_that_ran_out_is_taken_over(relay: Relay) -> None:
    """Rows of a relay that died are sent by another when their lease has run out."""
    ids = write("a")
    open_outbox("default").claim(10, 60.0)
    assert relay.relay() == 0
    OutboxMessage.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    assert relay.relay() == 1
    assert sent() == ids


def test_rows_are_claimed_by_state_not_by_position(relay: Relay) -> None:
    """A row with a lower id that becomes visible late is sent all the same."""
    early, late = write("a", "b")
    hidden = OutboxMessage.objects.get(message_id=early)
    OutboxMessage.objects.filter(pk=hidden.pk).delete()
    assert relay.relay() == 1
    hidden.save(force_insert=True)  # its transaction commits only now
    assert relay.relay() == 1
    assert sent() == [early, late]


def test_sent_rows_are_purged_in_batches() -> None:
    """Only what was sent longer ago than the retention goes, and not more than asked for at once."""
    outbox = open_outbox("default")
    write("a", "b", "c", "d")
    outbox.mark_sent(outbox.claim(3, 60.0))
    assert outbox.purge(3600.0, 10) == 0
    OutboxMessage.objects.exclude(sent_at=None).update(sent_at=timezone.now() - timedelta(hours=2))
    assert [outbox.purge(3600.0, 2), outbox.purge(3600.0, 2)] == [2, 1]
    assert OutboxMessage.objects.filter(sent_at=None).count() == 1


def test_the_backlog_is_measured() -> None:
    """Status and health learn how many events wait, how many of them failed before, and since when."""
    outbox = open_outbox("default")
    assert outbox.backlog().oldest == 0.0
    write("a", "b")
    OutboxMessage.objects.filter(key="a").update(attempts=2, created_at=timezone.now() - timedelta(seconds=90))
    backlog = outbox.backlog()
    assert (backlog.pending, backlog.parked) == (2, 1)
    assert backlog.oldest == pytest.approx(90, abs=2)


class Patience:
    """Stands for the event on which the relay waits; notes for how long it would, and ends it after ``looks``."""

    def __init__(self, relay: Relay, looks: int) -> None:
        self._relay = relay
        self._looks = looks
        self.waited: list[float] = []

    def clear(self) -> None:
        """As an event."""

    def set(self) -> None:
        """As an event."""

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) >= self._looks:
            self._relay._stopping = True


@pytest.mark.parametrize(
    ("notified", "keys", "outcome", "expected"),
    [
        (True, "", None, [5.0, 5.0]),  # notified of commits, and nothing waits
        (False, "", None, [0.1, 0.1]),
        (True, "a", None, [1.0, 5.0]),  # sent, then nothing waits
        (True, "a", BrokerUnavailable("down"), [1.0, 1.0]),  # what could not be sent is tried again soon
        (True, "a", BrokerError("too large"), [1.0, 1.0]),  # parked, so it waits until it is due
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_relay_with_nothing_to_do_looks_seldom(
    broker: FakeBroker, notified: bool, keys: str, outcome: BrokerError | None, expected: list[float]
) -> None:
    """It looks ten times a second without notifications; with them once a second if events wait, else every 5 s."""
    relay = Relay(broker, open_outbox("default"), EventsSettings(batch=10), is_notified=lambda: notified)
    patience = Patience(relay, looks=2)
    relay._awake = patience  # type: ignore[assignment]
    write(*keys)
    broker.outcome = lambda message: outcome
    relay._run(relay._lead)
    assert patience.waited == pytest.approx(expected)
