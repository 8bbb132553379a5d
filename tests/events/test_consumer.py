import logging
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from bandstand.conf.settings import EventsSettings
from bandstand.context import current
from bandstand.events import Message
from bandstand.events.inbox import Inbox
from bandstand.events.models import DeadLetter, Delivery, InboxMessage
from bandstand.exceptions import EventPostponed

from .conftest import Desk, UserCreated, body_of


def write(event: UserCreated) -> None:
    Group.objects.create(name=f"group of {event.user_id}")


def fail(event: UserCreated) -> None:
    write(event)
    raise ValueError(f"no luck with {event.user_id}")


def test_an_event_is_handled_and_acknowledged(desk: Desk) -> None:
    """The handler's changes and the inbox row are there, then the broker is told."""
    desk.handle(write)
    assert desk.bring(UserCreated(user_id="1")).settled == ["acknowledged"]
    assert Group.objects.count() == 1
    assert InboxMessage.objects.filter(subscription="welcome", message_id="message-1").count() == 1


def test_a_repetition_has_no_effect(desk: Desk) -> None:
    """An event that comes again is acknowledged and not handled, whether the broker says that it repeats or not."""
    desk.handle(write)
    for repeated in (False, False, True, True):
        assert desk.bring(UserCreated(user_id="1"), repeated=repeated).settled == ["acknowledged"]
    assert Group.objects.count() == 1
    assert not Delivery.objects.exists()


def test_a_repetition_without_the_inbox_would_have_an_effect(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tooth of the rule above: with the inbox switched off, the effect appears twice."""
    monkeypatch.setattr("bandstand.failpoints.switched_off", lambda name: name == "consumer.inbox")
    seen: list[str] = []

    def see(event: UserCreated) -> None:
        seen.append(event.user_id)

    desk.handle(see)
    desk.bring(UserCreated(user_id="1"))
    desk.bring(UserCreated(user_id="1"))
    assert seen == ["1", "1"]


def test_subscriptions_are_independent(desk: Desk) -> None:
    """Two handlers of one type have each their inbox and their retries; the failure of one does not touch the other."""
    desk.handle(write)
    desk.handle(fail, name="failing")
    desk.bring(UserCreated(user_id="1"))
    desk.bring(UserCreated(user_id="1"), to="failing")
    assert Group.objects.count() == 1
    assert list(Delivery.objects.values_list("subscription", "attempts")) == [("failing", 1)]


def test_a_failed_attempt_leaves_nothing_but_the_next(desk: Desk) -> None:
    """What the handler wrote before it failed is undone; the event is ours now, and due after the next delay."""
    desk.handle(fail)
    assert desk.bring(UserCreated(user_id="1")).settled == ["acknowledged"]
    assert not Group.objects.exists()
    assert not InboxMessage.objects.exists()
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.deaths, delivery.running) == (1, 0, False)
    assert "no luck with 1" in delivery.error
    assert 0.5 < (delivery.due_at - delivery.created_at).total_seconds() <= 1.5


def test_attempts_follow_the_delays_and_end_in_a_dead_letter(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Five attempts after 0, 1, 5, 30 and 120 s, then a dead letter with the error; never a sixth attempt."""
    attempts: list[int] = []

    def fail_again(event: UserCreated, message: Message) -> None:
        attempts.append(message.attempt)
        raise ValueError("never")

    desk.handle(fail_again)
    desk.bring(UserCreated(user_id="1"))
    waits = []
    while Delivery.objects.exists():
        row = Delivery.objects.get()
        waits.append(round((row.due_at - row.created_at).total_seconds()))
        Delivery.objects.update(created_at=row.due_at)
        desk.pass_time()
        if Delivery.objects.exists():
            Delivery.objects.update(created_at=timezone.now())
    assert attempts == [1, 2, 3, 4, 5]
    assert waits[0] == 1
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.attempts, letter.type, letter.key) == ("failed", 5, "user.created", "7")
    assert "ValueError: never" in letter.error
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "An event is a dead letter now: every attempt failed"
    ]


@pytest.mark.parametrize(("attempts", "delay"), [(1, 5), (2, 30), (3, 120)])
def test_each_wait_is_the_one_that_is_set(desk: Desk, attempts: int, delay: int) -> None:
    """The wait before attempt n is the nth of RETRY_DELAYS, counted in the database, so a restart changes nothing."""
    desk.handle(fail)
    desk.bring(UserCreated(user_id="1"))
    Delivery.objects.update(attempts=attempts)
    desk.pass_time()
    row = Delivery.objects.get()
    assert row.attempts == attempts + 1
    assert (row.due_at - timezone.now()).total_seconds() == pytest.approx(delay, abs=1)


@pytest.mark.parametrize("delays", [(0.0,), (0.0, 5.0)])
def test_what_is_postponed_never_becomes_a_dead_letter(db: None, delays: tuple[float, ...]) -> None:
    """While a handler says that what it needs is away, the last delay is waited for again and again."""
    desk, attempts = Desk(EventsSettings(retry_delays=delays)), []

    def wait(event: UserCreated, message: Message) -> None:
        attempts.append(message.attempt)
        if len(attempts) < 8:
            raise EventPostponed("it is away")

    desk.handle(wait)
    before = timezone.now()
    desk.bring(UserCreated(user_id="1"))
    while Delivery.objects.exists():
        # SQLite's clock has milliseconds.
        assert Delivery.objects.get().due_at >= before + timedelta(seconds=1, milliseconds=-1)
        before = timezone.now()
        desk.pass_time()
    assert attempts == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not DeadLetter.objects.exists()
    assert InboxMessage.objects.count() == 1


def test_a_later_attempt_that_succeeds_counts_once(desk: Desk) -> None:
    """When the trouble is over the event is handled, and nothing is left of its failures."""
    seen: list[int] = []

    def sometimes(event: UserCreated, message: Message) -> None:
        write(event)
        seen.append(message.attempt)
        if len(seen) < 3:
            raise ValueError("not yet")

    desk.handle(sometimes)
    desk.bring(UserCreated(user_id="1"))
    desk.pass_time()
    desk.pass_time()
    desk.pass_time()
    assert seen == [1, 2, 3]
    assert (Group.objects.count(), Delivery.objects.count(), DeadLetter.objects.count()) == (1, 0, 0)
    assert desk.bring(UserCreated(user_id="1")).settled == ["acknowledged"]
    assert seen == [1, 2, 3]


def test_younger_events_of_a_failing_key_wait_their_turn(desk: Desk) -> None:
    """While an event is retried, younger ones of its key wait behind it and then come in order; other keys go on."""
    seen: list[str] = []
    broken = True

    def handler(event: UserCreated) -> None:
        if broken and event.user_id == "1":
            raise ValueError("not yet")
        seen.append(event.user_id)

    desk.handle(handler)
    for number in ("1", "2", "3"):
        desk.bring(UserCreated(user_id=number), message_id=number, key="a")
    desk.bring(UserCreated(user_id="4"), message_id="4", key="b")
    assert seen == ["4"]
    broken = False
    desk.pass_time()
    desk.pass_time(0)
    desk.pass_time(0)
    assert seen == ["4", "1", "2", "3"]
    assert not Delivery.objects.exists()


def test_a_dead_letter_blocks_nobody(desk: Desk) -> None:
    """When an event is given up, those behind it go on."""
    seen: list[str] = []

    def handler(event: UserCreated) -> None:
        if event.user_id == "1":
            raise ValueError("never")
        seen.append(event.user_id)

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"), message_id="1")
    desk.bring(UserCreated(user_id="2"), message_id="2")
    for _ in range(6):
        desk.pass_time()
    assert seen == ["2"]
    assert DeadLetter.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"no event at all", "not a CloudEvent"),
        (b"\xff\xfe\x00", "not a CloudEvent"),
        (body_of(UserCreated(user_id="1")).replace(b"user.created/1", b"user.created/9"), "has version 9"),
        (body_of(UserCreated(user_id="1")).replace(b'"user_id"', b'"other"'), "user_id"),
    ],
)
def test_what_can_t_be_read_is_a_dead_letter_at_once(desk: Desk, body: bytes, says: str) -> None:
    """One attempt, no retries, the bytes kept, the broker told; and once more makes no second letter."""
    desk.handle(write)
    for _ in range(2):
        assert desk.bring(body).settled == ["acknowledged"]
    letter = DeadLetter.objects.get()
    assert (letter.reason, bytes(letter.body), letter.attempts) == ("invalid", body, 0)
    assert says in letter.error
    assert not Delivery.objects.exists()


def test_nobody_speaks_in_another_s_name(desk: Desk) -> None:
    """An event whose source is not the service that the broker let publish it is a dead letter, not an order."""
    desk.handle(write)
    assert desk.bring(UserCreated(user_id="1"), source="evil-service").settled == ["acknowledged"]
    letter = DeadLetter.objects.get()
    assert letter.reason == "invalid"
    assert "published as user.created by evil-service" in letter.error
    assert not Group.objects.exists()


def test_an_id_that_no_column_holds_stops_nothing(desk: Desk) -> None:
    """Rubbish with a monstrous id becomes a dead letter like any other, instead of coming again for ever."""
    desk.handle(write)
    for broker_id in ("x" * 5000, "\x00", "\ud800"):
        assert desk.bring(b"rubbish", broker_id=broker_id).settled == ["acknowledged"]
    assert DeadLetter.objects.count() == 3


def test_an_event_that_may_have_killed_its_process_is_taken_into_custody(desk: Desk) -> None:
    """What the broker brings again without our having settled it is counted as a death before it is handled again."""
    desk.handle(write)
    assert desk.bring(UserCreated(user_id="1"), repeated=True).settled == ["acknowledged"]
    assert list(Delivery.objects.values_list("deaths", "attempts")) == [(1, 0)]
    desk.pass_time(0)
    assert Group.objects.count() == 1
    assert not Delivery.objects.exists()


def test_five_deaths_end_in_a_dead_letter(desk: Desk) -> None:
    """A process that dies while it holds an event is a death when its lease runs out; the fifth is the last."""
    seen: list[int] = []

    def handler(event: UserCreated, message: Message) -> None:
        seen.append(message.attempt)
        raise SystemError  # stands for what the process does not survive

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"), repeated=True)
    for deaths in range(2, 6):
        Delivery.objects.update(running=True, deaths=deaths - 1)  # as a process leaves it that died
        if deaths < 5:
            assert desk.consumer.retrier._deliveries.claim(["welcome"], 5, 15.0, suspects=False) == []
    desk.pass_time()
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.deaths) == ("deaths", 5)
    assert seen == [], "it must not be handled a sixth time"


def test_what_died_once_is_tried_beside_others(desk: Desk) -> None:
    """Events that a process had only fetched when it died are handled side by side, not one after the other."""
    desk.handle(write)
    for number in ("1", "2", "3"):
        desk.bring(UserCreated(user_id=number), message_id=number, key=number, repeated=True)
    Delivery.objects.update(due_at=timezone.now() - timedelta(seconds=1))  # its millisecond might not be over yet
    assert desk.consumer.retrier._deliveries.claim(["welcome"], 5, 15.0, suspects=True) == []
    claimed = desk.consumer.retrier._deliveries.claim(["welcome"], 5, 15.0, suspects=False)
    assert sorted((row.message_id, row.deaths) for row in claimed) == [("1", 1), ("2", 1), ("3", 1)]


def test_a_retry_whose_process_died_is_tried_beside_others(desk: Desk) -> None:
    """The first death of a row is no more than the first death of a message: counted, and no reason to wait."""
    desk.handle(fail)
    for number in ("1", "2"):
        desk.bring(UserCreated(user_id=number), message_id=number, key=number)
    Delivery.objects.update(running=True, due_at=timezone.now() - timedelta(seconds=1))  # as a process leaves it
    claimed = desk.consumer.retrier._deliveries.claim(["welcome"], 5, 15.0, suspects=False)
    assert [(row.attempts, row.deaths) for row in claimed] == [(1, 1), (1, 1)]


def test_the_deadly_are_tried_one_at_a_time(desk: Desk) -> None:
    """Of several suspects only one is handled at once, so that a death is laid to the right door."""
    desk.handle(write)
    for number in ("1", "2"):
        desk.bring(UserCreated(user_id=number), message_id=number, key=number, repeated=True)
    Delivery.objects.update(running=True, due_at=timezone.now() - timedelta(seconds=1))  # and again
    assert desk.consumer.retrier._deliveries.claim(["welcome"], 5, 15.0, suspects=False) == []
    claimed = desk.consumer.retrier._deliveries.claim(["welcome"], 1, 15.0, suspects=True)
    assert [row.deaths for row in claimed] == [2]
    assert desk.consumer.retrier._deliveries.claim(["welcome"], 5, 15.0, suspects=False) == []


def test_who_waits_for_a_suspect_does_not_ask_all_the_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one suspect is handled, which may take minutes, the others cost no query: its end wakes the retrier."""
    desk.handle(write)
    for number in ("1", "2", "3"):
        desk.bring(UserCreated(user_id=number), message_id=number, key=number, repeated=True)
    assert Delivery.objects.update(deaths=2) == 3
    monkeypatch.setattr(desk.lanes, "submit", lambda group, key, job: None)  # its handler hangs
    assert desk.consumer.retrier.turn() >= 1
    assert desk.consumer.retrier.turn() >= 1
    assert Delivery.objects.filter(running=True).count() == 1


def test_retries_that_hang_do_not_hold_up_those_of_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many retries of one subscription are due and hang, one of another is taken at once."""
    submitted: list[str] = []
    desk.handle(write, name="slow")
    desk.handle(write, name="fast")
    for number in range(50):
        desk.bring(UserCreated(user_id=str(number)), message_id=str(number), key=str(number), to="slow", repeated=True)
    desk.bring(UserCreated(user_id="x"), message_id="x", key="x", to="fast", repeated=True)
    Delivery.objects.update(deaths=0, attempts=1)
    Delivery.objects.filter(subscription="slow").update(due_at=timezone.now() - timedelta(hours=1))
    monkeypatch.setattr(desk.lanes, "submit", lambda group, key, job: submitted.append(group))
    for _ in range(3):
        wait = desk.consumer.retrier.turn()
    assert wait >= 1, "there is nothing to do until one of them ends"
    assert submitted.count("fast") == 1
    assert desk.settings.threads <= submitted.count("slow") <= 2 * desk.settings.threads


def test_a_handler_that_hides_a_database_error_fails(desk: Desk) -> None:
    """A swallowed error that doomed the transaction is a failure, not a success of which nothing lasts."""

    def handler(event: UserCreated) -> None:
        Group.objects.create(name="same")
        try:
            with transaction.atomic(savepoint=False):
                Group.objects.create(name="same")
        except IntegrityError:
            pass

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"))
    assert "BrokenTransaction" in Delivery.objects.get().error
    assert not InboxMessage.objects.exists()


def test_a_handler_may_expect_errors_in_a_block_of_its_own(desk: Desk) -> None:
    """A nested atomic() keeps the rest of the handler's work."""

    def handler(event: UserCreated) -> None:
        Group.objects.create(name="same")
        try:
            with transaction.atomic():
                Group.objects.create(name="same")
        except IntegrityError:
            Group.objects.create(name="other")

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"))
    assert Group.objects.count() == 2


def test_a_handler_that_exits_only_fails(desk: Desk) -> None:
    """sys.exit() in a handler is a failed attempt and does not end the thread in silence."""

    def handler(event: UserCreated) -> None:
        raise SystemExit(1)

    desk.handle(handler)
    assert desk.bring(UserCreated(user_id="1")).settled == ["acknowledged"]
    assert "SystemExit" in Delivery.objects.get().error


def test_the_handler_runs_in_the_event_s_context(desk: Desk) -> None:
    """Correlation id and trace go on, the event is the cause, and there is a deadline."""
    seen: list[Any] = []

    def handler(event: UserCreated) -> None:
        seen.append(current())

    desk.handle(handler)
    desk.bring(UserCreated(user_id="1"))
    [context] = seen
    assert (context.correlation_id, context.causation_id) == ("correlation-1", "message-1")
    assert 0 < context.remaining() <= desk.settings.handler_timeout


def test_a_failure_is_logged_with_its_context(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """The log names subscription, event and attempt, with the handler's traceback."""
    desk.handle(fail)
    desk.bring(UserCreated(user_id="1"))
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert (record.__dict__["subscription"], record.__dict__["event_id"], record.__dict__["attempt"]) == (
        "welcome",
        "message-1",
        1,
    )


def test_an_event_for_nobody_goes_back(desk: Desk) -> None:
    """A subscription that this process does not have is left to another."""
    assert desk.bring(UserCreated(user_id="1")).settled == ["released for 1.0"]


def test_when_even_the_bookkeeping_fails_the_broker_keeps_the_event(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the database down nothing is acknowledged, nothing counted, and the event comes again as a fresh one."""
    desk.handle(write)

    def down(*args: Any) -> None:
        raise connection.Database.OperationalError("the database is down")

    monkeypatch.setattr("bandstand.events.inbox.Inbox.enter", down)
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.close", lambda self: None)
    assert desk.bring(UserCreated(user_id="1")).settled == ["released for 1.0"]
    monkeypatch.undo()
    assert not Delivery.objects.exists()
    assert desk.bring(UserCreated(user_id="1"), repeated=True).settled == ["acknowledged"]
    assert Group.objects.count() == 1, "it was released, so its repetition is no suspicion"


def test_copies_of_what_is_being_handled_are_settled_with_it(desk: Desk) -> None:
    """What comes again while it is handled, after a reconnection or published twice, is not handled twice, and no copy
    stays in hand: with as many of them as a subscription may hold, nothing would ever come again."""
    body = body_of(UserCreated(user_id="1"))
    again = []

    def handler(event: UserCreated) -> None:
        write(event)
        again.append(desk.bring(body, repeated=True))

    desk.handle(handler)
    first = desk.bring(body)
    assert (first.settled, again[0].settled) == (["acknowledged"], ["acknowledged"])
    assert Group.objects.count() == 1


def test_copies_of_what_has_to_wait_are_given_back_with_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the database down the broker keeps all of them; the inbox knows them when they come again."""
    body, again = body_of(UserCreated(user_id="1")), []

    def fail(*arguments: object) -> None:
        again.append(desk.bring(body))
        raise connection.Database.OperationalError("the database is down")

    desk.handle(write)
    monkeypatch.setattr(desk.consumer._inbox, "enter", fail)
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.close", lambda self: None)
    first = desk.bring(body)
    assert first.settled == again[0].settled == ["released for 1.0"]


def test_old_inbox_rows_are_purged(desk: Desk) -> None:
    """Rows older than the retention go, in batches; younger ones stay."""
    inbox = desk.consumer._inbox
    for number in range(3):
        inbox.enter("welcome", str(number), "key")
    assert inbox.purge(3600.0, 10) == 0
    InboxMessage.objects.filter(message_id__in=["0", "1"]).update(handled_at="2020-01-01T00:00:00Z")
    assert [inbox.purge(3600.0, 1), inbox.purge(3600.0, 10)] == [1, 1]
    assert InboxMessage.objects.get().message_id == "2"


def test_an_attempt_that_can_not_be_recorded_keeps_the_event(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with its record, the event stays at the broker, and comes again as often as it takes."""

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    desk.handle(write)
    with monkeypatch.context() as broken:
        broken.setattr(Inbox, "enter", fail)
        broken.setattr(desk.consumer.retrier, "after_first_failure", fail)
        brought = [desk.bring(UserCreated(user_id="1")) for _ in range(15)]
    assert {each for incoming in brought for each in incoming.settled} == {"released for 1.0"}
    assert [len(incoming.settled) for incoming in brought] == [1] * 15
    assert desk.bring(UserCreated(user_id="1")).settled == ["acknowledged"]
