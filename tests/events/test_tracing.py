"""The way of an event from the tables, the history that it is told from, and what the status and metrics count."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from bandstand.conf.settings import EventsSettings
from bandstand.context import REGISTRY, bind, new_context
from bandstand.events import Message, publish
from bandstand.events.brokers import BrokerOptions, Outgoing, Waiting, build_broker
from bandstand.events.brokers.base import Binding
from bandstand.events.exposing import Exposure, parse_address
from bandstand.events.history import KEPT, History, What
from bandstand.events.housekeeping import Housekeeping
from bandstand.events.management.commands import events
from bandstand.events.mending import Choice, Mending
from bandstand.events.models import DeadLetter, HistoryEntry, OutboxMessage
from bandstand.events.outbox import open_outbox
from bandstand.events.status import read_status
from bandstand.events.tracing import Known, Question, TracedDelivery, Tracer
from bandstand.exceptions import BrokerUnavailable, ConfigurationError

from .conftest import Desk, FakeBroker, UserCreated

pytestmark = pytest.mark.django_db


class Fragile:
    """A handler that fails until it is mended."""

    def __init__(self, desk: Desk) -> None:
        self.broken = True
        desk.handle(self.handle)

    def handle(self, event: UserCreated, message: Message) -> None:
        if self.broken:
            raise ValueError(f"attempt {message.attempt}")


def trace(desk: Desk, *ids: str, known: dict[str, Known] | None = None) -> list[TracedDelivery]:
    question = Question(ids=ids, known=known or {})
    return list(Tracer("default", desk.registry, service="test-service").trace(question).deliveries)


def told(found: TracedDelivery) -> list[tuple[str, int]]:
    return [(entry.what, entry.number) for entry in found.history]


# --- history --------------------------------------------------------------------------------------
def test_an_event_that_is_handled_at_once_costs_no_more(desk: Desk) -> None:
    """The happy path writes its inbox row and nothing else."""

    def fine(event: UserCreated) -> None:
        pass

    desk.handle(fine)
    writes: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            writes.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(watch):
        desk.bring(UserCreated(user_id="1"))
    assert len(writes) == 1
    assert "bandstand_inbox" in writes[0]
    [delivery] = trace(desk, "message-1")
    assert (delivery.state, delivery.history) == ("handled", ())


def test_every_failed_attempt_is_remembered(desk: Desk) -> None:
    """Each attempt with its number, time and error; and they are still there when a later one succeeded."""
    handler = Fragile(desk)
    desk.bring(UserCreated(user_id="1"))
    desk.pass_time()
    [delivery] = trace(desk, "message-1")
    assert delivery.state == "retrying"
    assert told(delivery) == [("failed", 1), ("failed", 2)]
    assert [entry.text.splitlines()[-1] for entry in delivery.history] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    handler.broken = False
    desk.pass_time()
    [delivery] = trace(desk, "message-1")
    assert (delivery.state, told(delivery)) == ("handled", [("failed", 1), ("failed", 2)])


def test_a_process_that_ended_is_remembered(desk: Desk) -> None:
    """One that was brought before and never settled counts as the end of a process."""
    Fragile(desk).broken = False
    desk.bring(UserCreated(user_id="1"), repeated=True)
    assert told(trace(desk, "message-1")[0]) == [("died", 1)]


def test_death_replay_and_drop_are_remembered(desk: Desk) -> None:
    """From the last attempt to what people did about it."""
    handler = Fragile(desk)
    desk.bring(UserCreated(user_id="1"))
    for _ in range(4):
        desk.pass_time()
    mending = Mending("default", desk.registry, by="ada")
    [delivery] = trace(desk, "message-1")
    assert (delivery.state, delivery.reason) == ("dead", "failed")
    assert told(delivery)[-1] == ("dead", 5)
    mending.replay(mending.find(Choice()))
    assert trace(desk, "message-1")[0].state == "waiting"
    for _ in range(5):
        desk.pass_time()
    mending.drop(mending.find(Choice()).values_list("pk", flat=True))
    [delivery] = trace(desk, "message-1")
    assert delivery.state == "dropped"
    assert [(entry.what, entry.by) for entry in delivery.history if entry.by] == [
        ("replayed", "ada"),
        ("dropped", "ada"),
    ]
    assert handler.broken


def test_the_history_of_one_event_is_bounded(desk: Desk) -> None:
    """However often it is replayed; the data from before the first edit are never lost."""
    Fragile(desk)
    mending = Mending("default", desk.registry)
    desk.bring(UserCreated(user_id="original"))
    for round_ in range(8):
        for _ in range(5):
            desk.pass_time()
        letter = DeadLetter.objects.get()
        mending.edit(letter.pk, json.dumps({"user_id": str(round_)}).encode())
        mending.replay(mending.find(Choice()))
    assert HistoryEntry.objects.count() <= KEPT + 1
    first = HistoryEntry.objects.filter(what="edited").order_by("id").first()
    assert first is not None
    assert json.loads(first.text)["user_id"] == "original"


def test_old_history_goes_unless_it_is_needed(desk: Desk) -> None:
    """What is settled is forgotten in time; of what is still dead or waiting everything stays."""
    Fragile(desk)
    desk.bring(UserCreated(user_id="1"))
    history = History("default")
    history.tell(What.FAILED, "welcome", "settled", number=1)
    history.tell(What.FAILED, "welcome", "young", number=1)
    old = timezone.now() - timedelta(days=20)
    HistoryEntry.objects.exclude(message_id="young").update(at=old)
    assert history.purge(14 * 24 * 3600.0, 100) == 1
    assert set(HistoryEntry.objects.values_list("message_id", flat=True)) == {"message-1", "young"}


# --- traces ---------------------------------------------------------------------------------------
def published(user: str, *, correlation: str, cause: str | None = None) -> str:
    with bind(new_context(correlation_id=correlation, causation_id=cause)), transaction.atomic():
        return publish(UserCreated(user_id=user), key=user)


def test_an_event_brings_all_of_its_correlation(desk: Desk) -> None:
    """Sent or not, what belongs to the same request is found, with its causes, and nothing else."""
    parent = published("1", correlation="correlation-a")
    OutboxMessage.objects.update(sent_at=timezone.now())
    child = published("2", correlation="correlation-a", cause=parent)
    published("3", correlation="correlation-b")
    tracer = Tracer("default", desk.registry, service="test-service")
    for asked in (parent, child, "correlation-a"):
        events_found = tracer.trace(Question(ids=(asked,))).events
        assert [event.id for event in events_found] == [parent, child]
        assert [event.causation_id for event in events_found] == ["", parent]
        assert [event.relayed_at is not None for event in events_found] == [True, False]
        assert all(event.published_here for event in events_found)


def test_what_should_come_is_expected(desk: Desk) -> None:
    """A subscription to which an event goes, and of which nothing is here, is named; one of another source is not."""
    Fragile(desk)
    known = {"elsewhere": Known(type="user.created", source="user-service")}
    assert [each.state for each in trace(desk, "elsewhere", known=known)] == ["expected"]
    assert trace(desk, "elsewhere", known={"elsewhere": Known(type="order.placed", source="x")}) == []
    subscription = desk.registry.get("welcome")
    assert subscription is not None
    subscription.source = "admin-service"
    assert trace(desk, "elsewhere", known=known) == []


def test_a_failed_event_of_another_service_is_known_too(desk: Desk) -> None:
    """Its body says what it is, so that it is found by its correlation id."""
    Fragile(desk)
    desk.bring(UserCreated(user_id="1"))
    found = Tracer("default", desk.registry, service="test-service").trace(Question(ids=("correlation-1",)))
    assert [(event.id, event.source, event.published_here) for event in found.events] == [
        ("message-1", "user-service", False)
    ]
    assert [each.state for each in found.deliveries] == ["retrying"]


def test_a_trace_has_an_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correlation of thousands is cut off and says so; the event asked for is always there."""
    monkeypatch.setattr("bandstand.events.tracing._LIMIT", 3)
    ids = [published(str(number), correlation="correlation-a") for number in range(6)]
    found = Tracer("default", desk.registry, service="test-service").trace(Question(ids=(ids[-1],)))
    assert len(found.events) == 3
    assert found.truncated
    assert ids[-1] in {event.id for event in found.events}


def test_questions_on_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of JSON for each question, one for each answer, in one process."""
    identifier = published("1", correlation="correlation-a")
    questions = "".join(json.dumps({"ids": [each]}) + "\n" for each in ("unknown", identifier))
    monkeypatch.setattr(events.sys, "stdin", StringIO(questions))
    out = StringIO()
    call_command("events", "trace", "--json", "-", stdout=out)
    answers = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [len(answer["events"]) for answer in answers] == [0, 1]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_unknown_id_is_an_error(desk: Desk, arguments: tuple[str, ...]) -> None:
    """The command fails for people and machines alike, and tells these why in an object."""
    out = StringIO()
    with pytest.raises(CommandError, match="knows no event"):
        call_command("events", "trace", "unknown", *arguments, stdout=out)
    assert [json.loads(line)["error"]["code"] for line in out.getvalue().splitlines()] == ["unknown_event"] * len(
        arguments
    )


def test_hand_made_correlation_ids_do_not_fail_a_request(desk: Desk) -> None:
    """What is longer than the column is cut there, and whole in the event."""
    with bind(new_context().replace(correlation_id="x" * 200)), transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    row = OutboxMessage.objects.get()
    assert row.correlation_id == "x" * 64
    assert "x" * 200 in row.body


# --- status and metrics ---------------------------------------------------------------------------
class AskedBroker(FakeBroker):
    def __init__(self) -> None:
        super().__init__()
        self.answer: dict[str, Waiting] | BrokerUnavailable = {}

    def waiting(self, subscriptions: object, timeout: float) -> dict[str, Waiting]:
        if isinstance(self.answer, BrokerUnavailable):
            raise self.answer
        return self.answer


def test_the_status_asks_the_broker(desk: Desk) -> None:
    """What it tells is shown; when it can't be asked, that is said and all else is there."""
    Fragile(desk)
    desk.bring(UserCreated(user_id="1"))
    broker = AskedBroker()
    broker.answer = {"welcome": Waiting(pending=7, unsettled=2)}
    [found] = read_status("default", desk.registry, service="s", broker=broker).subscriptions
    assert (found.at_broker, found.in_hand, found.retrying, found.waiting) == (7, 2, 1, 0)
    broker.answer = BrokerUnavailable("away")
    status = read_status("default", desk.registry, service="s", broker=broker)
    assert status.broker_error == "away"
    assert status.subscriptions[0].at_broker is None
    assert status.subscriptions[0].retrying == 1


def test_the_backlog_tells_parked_from_in_flight(desk: Desk) -> None:
    """Parked are those that failed, in flight those that are being sent for the first time."""
    for user in ("1", "1", "2", "3"):
        published(user, correlation="correlation-a")
    outbox = open_outbox("default")
    rows = outbox.claim(4, 60.0)
    outbox.park(rows[0], delay=60, error="refused")
    outbox.park(rows[1], delay=60, error="refused")
    outbox.mark_sent([rows[2]])
    backlog = outbox.backlog()
    assert (backlog.pending, backlog.in_flight, backlog.parked, backlog.parked_keys) == (3, 1, 2, 1)
    assert outbox.sent() == 1


def test_the_memory_broker_tells_what_waits() -> None:
    """What nobody took yet, and what is in hand until it is settled."""
    broker = build_broker("memory://what-waits", BrokerOptions(platform="tests", service="s", prefetch=2))
    broker.open(lambda: None)
    taken: list = []  # type: ignore[type-arg]
    broker.consume([Binding(subscription="a", pattern="x.y")], taken.append)
    broker.publish([Outgoing(id=str(number), type="x.y", body=b"") for number in range(5)])
    assert broker.waiting(["a", "b"], 1.0) == {"a": Waiting(pending=3, unsettled=2)}
    taken[0].acknowledge()
    taken[1].acknowledge()
    assert broker.waiting(["a"], 1.0) == {"a": Waiting(pending=1, unsettled=2)}
    broker.close()
    assert broker.waiting(["a"], 1.0) == {"a": Waiting(pending=3, unsettled=0)}


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_metrics_follow_the_tables(desk: Desk) -> None:
    """Deliveries and dead letters are counted as they stand, and go back to zero when nothing is left."""
    handler = Fragile(desk)
    failed_before = sample("bandstand_events_handler_seconds_count", subscription="welcome", outcome="failed") or 0
    keeper = Housekeeping(open_outbox("default"), EventsSettings())
    desk.bring(UserCreated(user_id="1"))
    published("1", correlation="correlation-a")
    keeper.measure()
    assert sample("bandstand_events_deliveries", subscription="welcome", state="retrying") == 1
    assert sample("bandstand_outbox_pending") == 1
    for _ in range(4):
        desk.pass_time()
    keeper.measure()
    assert sample("bandstand_events_dead_letters", subscription="welcome") == 1
    assert sample("bandstand_events_deliveries", subscription="welcome", state="retrying") == 0
    failed = sample("bandstand_events_handler_seconds_count", subscription="welcome", outcome="failed")
    assert failed == failed_before + 5
    handler.broken = False
    mending = Mending("default", desk.registry)
    mending.replay(mending.find(Choice()))
    desk.pass_time()
    keeper.measure()
    assert sample("bandstand_events_dead_letters", subscription="welcome") == 0


# --- exposure -------------------------------------------------------------------------------------
def test_a_worker_answers_on_its_own_port() -> None:
    """Metrics, life and readiness, and nothing else; on the loopback interface."""
    ready = [False]
    exposure = Exposure("0", lambda: ready[0])
    exposure.start()
    base = f"http://127.0.0.1:{exposure.port}"
    try:
        with urlopen(f"{base}/metrics", timeout=5) as answer:
            assert "bandstand_events_attempts_total" in answer.read().decode()
            assert answer.headers["Content-Type"].startswith("text/plain")
        with urlopen(f"{base}/health/live/", timeout=5) as answer:
            assert json.loads(answer.read()) == {"status": "alive"}
        for path, status in (("/health/ready", 503), ("/", 404), ("/admin", 404)):
            with pytest.raises(HTTPError) as refused:
                urlopen(base + path, timeout=5)
            assert refused.value.code == status
            refused.value.close()
        ready[0] = True
        with urlopen(f"{base}/health/ready/", timeout=5) as answer:
            assert answer.status == 200
        with pytest.raises(ConfigurationError, match="can't listen"):
            Exposure(str(exposure.port), lambda: True)
    finally:
        exposure.stop()


@pytest.mark.parametrize(
    ("text", "address"),
    [("9100", ("127.0.0.1", 9100)), ("0.0.0.0:9100", ("0.0.0.0", 9100)), ("localhost:0", ("localhost", 0))],
)
def test_an_address_is_a_port_or_more(text: str, address: tuple[str, int]) -> None:
    """Without a host it is nobody else's business."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "metrics", "70000", "1.2.3.4:", "-1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    """The message names the variable."""
    with pytest.raises(ConfigurationError, match="BANDSTAND_WORKER_PORT"):
        parse_address(text)
