"""What would happen without each protection: the rules of the other tests fail when its switch is off."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

import bandstand
from bandstand import failpoints
from bandstand.conf.settings import EventsSettings
from bandstand.events import Message, publish
from bandstand.events.models import DeadLetter, Delivery, OutboxMessage
from bandstand.events.outbox import open_outbox
from bandstand.events.relay import Relay
from bandstand.exceptions import BrokerError, BrokerUnavailable
from bandstand.failpoints import FailPoint

from .conftest import Desk, FakeBroker, UserCreated

Off = Callable[[str], None]
TESTS = Path(__file__).parents[1]


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> Off:
    """Switches a protection off."""
    return lambda name: monkeypatch.setitem(failpoints._points, name, FailPoint("off"))


def test_every_switch_has_its_tooth() -> None:
    """Whatever can be switched off is switched off in a test, under its name."""
    house = Path(bandstand.__file__).parent
    switches = {
        name for file in house.rglob("*.py") for name in re.findall(r'switched_off\("([a-z.]+)"\)', file.read_text())
    }
    tests = "".join(file.read_text() for file in TESTS.rglob("test_*.py"))
    assert len(switches) > 12
    assert {name for name in switches if name not in tests} == set()


# --- the relay ---------------------------------------------------------------------------------------


def relay_of(broker: FakeBroker, batch: int = 10) -> Relay:
    return Relay(broker, open_outbox("default"), EventsSettings(batch=batch))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bandstand.events.relay.time.sleep", lambda seconds: None)


def write(*keys: str) -> list[str]:
    with transaction.atomic():
        return [publish(UserCreated(user_id=str(number)), key=key) for number, key in enumerate(keys)]


def sent() -> set[str]:
    return set(OutboxMessage.objects.exclude(sent_at=None).values_list("message_id", flat=True))


@pytest.mark.django_db
@pytest.mark.parametrize("protected", [True, False])
def test_order_of_a_key(broker: FakeBroker, off: Off, protected: bool) -> None:
    """An event whose older one was refused waits; without waves it overtakes it."""
    if not protected:
        off("relay.order")
    first, second = write("a", "a")
    broker.outcome = lambda message: BrokerError("no") if message.id == first else None
    relay_of(broker).relay()
    assert sent() == (set() if protected else {second})


@pytest.mark.django_db
@pytest.mark.parametrize("protected", [True, False])
def test_confirmation(broker: FakeBroker, off: Off, protected: bool) -> None:
    """What the broker did not confirm stays in the outbox; otherwise it counts as sent and is lost."""
    if not protected:
        off("relay.confirmation")
    [identifier] = write("a")
    broker.outcome = lambda message: BrokerUnavailable("down")
    relay_of(broker).relay()
    assert sent() == (set() if protected else {identifier})
    assert not broker.confirmed


@pytest.mark.django_db
@pytest.mark.parametrize("protected", [True, False])
def test_parking(broker: FakeBroker, off: Off, protected: bool) -> None:
    """An event that can't be sent keeps its own key only; without parking it stands before all others for ever."""
    if not protected:
        off("relay.parking")
    poison, good = write("a", "b")
    broker.outcome = lambda message: BrokerError("no") if message.id == poison else None
    relay = relay_of(broker, batch=1)
    for _ in range(5):
        relay.relay()
    assert sent() == ({good} if protected else set())


@pytest.mark.django_db
@pytest.mark.parametrize("protected", [True, False])
def test_fence(broker: FakeBroker, off: Off, monkeypatch: pytest.MonkeyPatch, protected: bool) -> None:
    """A relay that wakes late sends nothing more and gives nothing free: another may have these rows by now."""
    if not protected:
        off("relay.fence")
    write("a", "a")
    clock = [0.0]
    monkeypatch.setattr("bandstand.events.relay.monotonic", lambda: clock[0])

    def fall_asleep(message: object) -> None:
        clock[0] += 3600

    broker.outcome = fall_asleep
    relay_of(broker).relay()
    assert [len(batch) for batch in broker.batches] == ([1] if protected else [1, 1])
    assert OutboxMessage.objects.filter(sent_at=None, held_until=None).count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("protected", [True, False])
def test_fence_of_what_is_left(broker: FakeBroker, off: Off, monkeypatch: pytest.MonkeyPatch, protected: bool) -> None:
    """A relay that wakes after its lease leaves the rows that it could not send to whoever holds them by now."""
    if not protected:
        off("relay.fence")
    write("a")
    clock = [0.0]
    monkeypatch.setattr("bandstand.events.relay.monotonic", lambda: clock[0])
    monkeypatch.setattr("bandstand.events.relay.time.sleep", lambda seconds: None)

    def fall_asleep(message: object) -> BrokerUnavailable:
        clock[0] += 3600
        return BrokerUnavailable("gone meanwhile")

    broker.outcome = fall_asleep
    relay_of(broker).relay()
    assert OutboxMessage.objects.filter(held_until=None).exists() is not protected


# --- the consumer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protected", [True, False])
def test_order_while_an_older_one_is_retried(desk: Desk, off: Off, protected: bool) -> None:
    """A younger event of a failing key waits behind it; otherwise it overtakes it."""
    if not protected:
        off("consumer.order")
    seen: list[str] = []

    def handler(event: UserCreated) -> None:
        if event.user_id == "1":
            raise ValueError("not yet")
        seen.append(event.user_id)

    desk.handle(handler)
    for number in ("1", "2"):
        desk.bring(UserCreated(user_id=number), message_id=number)
    assert seen == ([] if protected else ["2"])


@pytest.mark.parametrize("protected", [True, False])
def test_attempts(desk: Desk, off: Off, protected: bool) -> None:
    """Five attempts and no more; otherwise a poisonous event is tried for ever."""
    if not protected:
        off("consumer.attempts")
    seen: list[int] = []

    def fail(event: UserCreated, message: Message) -> None:
        seen.append(message.attempt)
        raise ValueError("never")

    desk.handle(fail)
    desk.bring(UserCreated(user_id="1"))
    for _ in range(9):
        desk.pass_time()
    assert seen == list(range(1, 6 if protected else 11))
    assert DeadLetter.objects.exists() == protected


@pytest.mark.parametrize("protected", [True, False])
def test_deaths(desk: Desk, off: Off, protected: bool) -> None:
    """An event over which five processes died is handled no more; otherwise it ends the sixth."""
    if not protected:
        off("consumer.deaths")
    seen: list[str] = []

    def handler(event: UserCreated) -> None:
        seen.append(event.user_id)

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"), repeated=True)
    Delivery.objects.update(deaths=5)
    desk.pass_time()
    assert seen == ([] if protected else ["1"])
    assert DeadLetter.objects.exists() == protected


class ProcessEnds(KeyboardInterrupt):
    """An exception that ends the process: nothing here handles Ctrl-C in the main thread."""


def lives(max_deaths: int) -> int:
    """Let one process after the other handle a deadly event and innocent ones that came with it, until none is left;
    return how many of them it ended."""

    def handler(event: UserCreated) -> None:
        if event.user_id == "deadly":
            raise ProcessEnds

    def process() -> Desk:
        desk = Desk(EventsSettings(max_deaths=max_deaths))
        desk.handle(handler)
        return desk

    for name in ("deadly", "a", "b", "c", "d"):  # one has ended already, with all of them in hand
        process().bring(UserCreated(user_id=name), message_id=name, key=name, repeated=True)
    ended, desk = 1, process()
    while Delivery.objects.exists():
        try:
            desk.lanes.busy = True
            Delivery.objects.filter(message_id="deadly").update(due_at=timezone.now() - timedelta(hours=1))  # first
            desk.pass_time()
            desk.lanes.go()
        except ProcessEnds:
            ended, desk = ended + 1, process()
    return ended


@pytest.mark.parametrize("max_deaths", [2, 3, 5])
@pytest.mark.parametrize("protected", [True, False])
def test_isolation(db: None, off: Off, protected: bool, max_deaths: int) -> None:
    """A deadly event takes nobody with it; if it were handled beside others each time, those would be given up too."""
    if not protected:
        off("consumer.isolation")
    assert lives(max_deaths) == max_deaths
    given_up = set(DeadLetter.objects.values_list("message_id", "reason", "deaths"))
    assert ("deadly", "deaths", max_deaths) in given_up
    assert (len(given_up) == 1) == protected


@pytest.mark.parametrize("protected", [True, False])
def test_source(desk: Desk, off: Off, protected: bool) -> None:
    """An event in another service's name is not handled; otherwise whoever may publish may say anything."""
    if not protected:
        off("consumer.source")

    def handler(event: UserCreated) -> None:
        Group.objects.create(name="believed")

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"), source="evil-service")
    assert Group.objects.exists() != protected


@pytest.mark.parametrize("protected", [True, False])
def test_leases(desk: Desk, off: Off, protected: bool) -> None:
    """What is being handled is held as long as it takes; otherwise it counts as a death, and is begun once more."""
    if not protected:
        off("consumer.leases")
    desk.handle(lambda_of([]))
    desk.bring(UserCreated(user_id="1"), repeated=True)
    past = timezone.now() - timedelta(seconds=1)  # the very millisecond in which it came might not be over yet
    Delivery.objects.update(deaths=2, due_at=past)  # a suspect, of which this process takes one at a time
    retrier = desk.consumer.retrier
    [row] = retrier._deliveries.claim(["welcome"], 1, 15.0, suspects=True)
    retrier._held[row.position] = ("welcome", True)
    Delivery.objects.update(due_at=past)
    retrier.turn()
    others = retrier._deliveries.claim(["welcome"], 1, 15.0, suspects=True)
    assert [each.deaths for each in others] == ([] if protected else [3])


def lambda_of(seen: list[str]) -> Callable[[UserCreated], None]:
    def handler(event: UserCreated) -> None:
        seen.append(event.user_id)

    return handler
