"""The claims on the real PostgreSQL: two relays at the same moment, and what would happen without the protections."""

import json
import threading
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest
from django.db import IntegrityError, ProgrammingError, connections, transaction
from django.test.utils import CaptureQueriesContext

from bandstand import failpoints
from bandstand.conf import get_settings
from bandstand.events import outbox as module
from bandstand.events import publish, publishing, wakeup
from bandstand.events.brokers import Outgoing
from bandstand.events.outbox import Outbox, OutboxRow, PostgresOutbox, open_outbox
from bandstand.events.queries import queries
from bandstand.events.relay import Relay
from bandstand.exceptions import BrokerError
from bandstand.failpoints import FailPoint
from tests.integration.events.conftest import Rig
from tests.integration.events.ledger.shapes import Counted
from tests.waiting import GUARD

TURN = "SELECT pg_advisory_xact_lock(%(turn)s), set_config('synchronous_commit', 'off', true);"


@pytest.fixture
def two_of_a_key(rig: Rig) -> Rig:
    rig.write(1, key="same")
    rig.write(2, key="same")
    return rig


def claim_while_another_claims(rig: Rig) -> list[OutboxRow]:
    """Claim one row while another relay has claimed one and not committed yet; return what the second got."""
    got: list[OutboxRow] = []

    def second() -> None:
        got.extend(open_outbox(rig.platform).claim(1, 60.0))
        connections[rig.platform].close()

    with transaction.atomic(using=rig.platform):
        [first] = open_outbox(rig.platform).claim(1, 60.0)
        thread = threading.Thread(target=second)
        thread.start()
        rig.until(lambda: not thread.is_alive() or is_kept_waiting(rig), "the second has claimed, or waits")
    thread.join(GUARD)
    assert first.key == "same"
    return got


def is_kept_waiting(rig: Rig) -> bool:
    """Say whether a session of the database waits for a lock that another one has."""
    return rig.count("pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", rig.platform) > 0


def without(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    """Take parts out of the query, as a test of the tests."""
    changed = dict(queries("postgresql"))
    for part in parts:
        assert part in changed["claim"]
        changed["claim"] = changed["claim"].replace(part, "SELECT 1;" if part == TURN else "")
    monkeypatch.setattr(module, "queries", lambda file: changed)


HELD = """
      AND key NOT IN (
        SELECT key FROM bandstand_outbox WHERE sent_at IS NULL AND held_until > statement_timestamp()
      )"""


def test_a_key_is_held_by_one_relay(two_of_a_key: Rig) -> None:
    """A relay that claims at the same moment gets nothing of a key of which another has a row."""
    assert claim_while_another_claims(two_of_a_key) == []


@pytest.mark.parametrize("parts", [(TURN,), (TURN, HELD), (HELD,)])
def test_each_part_of_the_claim_is_needed(
    two_of_a_key: Rig, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...]
) -> None:
    """The teeth: without the turn, or without looking at what is held, two relays have rows of one key."""
    without(monkeypatch, *parts)
    assert [row.key for row in claim_while_another_claims(two_of_a_key)] == ["same"]


def test_without_turns_two_relays_would_hold_a_key(two_of_a_key: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by the switch that any process can be given: the second relay sees nothing of the first one's claim."""
    monkeypatch.setitem(failpoints._points, "outbox.turn", FailPoint("off"))
    assert [row.key for row in claim_while_another_claims(two_of_a_key)] == ["same"]


class Cursor(Outbox):
    """The outbox that many write first: it remembers the last id that it has seen, and asks for what is above."""

    last = 0

    def claim(self, limit: int, lease: float) -> list[OutboxRow]:
        claimed = [row for row in super().claim(limit, lease) if row.position > self.last]
        self.last = max([self.last, *(row.position for row in claimed)])
        return claimed


@pytest.mark.parametrize(("kind", "relayed"), [(open_outbox, {1, 2}), (Cursor, {2})])
def test_claims_by_state_pass_over_no_late_commit(rig: Rig, kind: Any, relayed: set[int]) -> None:
    """An event whose id is lower than that of one which was sent before its commit is sent; with a cursor, never."""
    outbox = kind(rig.platform)
    found: set[int] = set()

    def relay() -> None:
        rows = outbox.claim(10, 0.001)
        found.update(json.loads(row.body)["data"]["number"] for row in rows)
        outbox.mark_sent(rows)

    def younger() -> None:
        rig.write(2)
        relay()
        connections[rig.platform].close()

    with transaction.atomic(using=rig.platform):
        rig.write(1)
        thread = threading.Thread(target=younger)
        thread.start()
        thread.join(GUARD)
    relay()
    assert found == relayed


def test_a_commit_wakes_the_relays_once(rig: Rig) -> None:
    """One notification for a transaction however many events it has; none for one that is rolled back.

    They come in the order of the commits, so the one after shows that the one before sent none.
    """
    woken = threading.Semaphore(0)
    listener = wakeup.Listener(rig.platform, {"outbox": woken.release})
    listener.start()
    try:
        assert woken.acquire(timeout=GUARD), "when it begins to listen it wakes, for what was committed before"
        with transaction.atomic(using=rig.platform):
            rig.write(1)
            rig.write(2)
        assert woken.acquire(timeout=GUARD)
        with pytest.raises(RuntimeError), transaction.atomic(using=rig.platform):  # noqa: PT012 - the block fails as a whole
            rig.write(3)
            raise RuntimeError
        rig.write(4)
        assert woken.acquire(timeout=GUARD)
        assert not woken.acquire(blocking=False)
    finally:
        listener.stop()


def test_without_the_notification_nobody_is_woken(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tooth: of two commits, of which one has its notification switched off, one wakes."""
    woken = threading.Semaphore(0)
    listener = wakeup.Listener(rig.platform, {"outbox": woken.release})
    listener.start()
    try:
        assert woken.acquire(timeout=GUARD)
        with monkeypatch.context() as patch:
            patch.setitem(failpoints._points, "relay.notification", FailPoint("off"))
            rig.write(1)
        rig.write(2)
        assert woken.acquire(timeout=GUARD)
        assert not woken.acquire(blocking=False)
    finally:
        listener.stop()


@pytest.mark.parametrize("rig", ["bandstand.postgresql", "django.db.backends.postgresql"], indirect=True)
def test_an_event_is_of_its_savepoint(rig: Rig) -> None:
    """What is published in a savepoint that is rolled back was never published; what was before it and after it was."""
    with transaction.atomic(using=rig.platform):
        rig.write(1)
        with pytest.raises(RuntimeError), transaction.atomic(using=rig.platform):  # noqa: PT012 - the block fails as a whole
            rig.write(2)
            raise RuntimeError
        rig.write(3)
    numbers = "SELECT (body::json -> 'data' ->> 'number')::int FROM bandstand_outbox ORDER BY id"
    assert rig.query(numbers) == [(1,), (3,)]


@pytest.mark.parametrize("rig", ["bandstand.postgresql", "django.db.backends.postgresql"], indirect=True)
@pytest.mark.parametrize("trouble", ["taken id", "no table"])
def test_neither_change_nor_event(rig: Rig, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """When the outbox refuses the event, be it only at the COMMIT, nothing of the transaction lasts, and the error
    tells of the outbox.
    """
    if trouble == "taken id":
        monkeypatch.setattr(publishing, "uuid7", lambda: "0190163d-8694-739b-aea5-966c26f8ad91")
        rig.write(0)
    else:
        rig.query("ALTER TABLE bandstand_outbox RENAME TO away")
    with pytest.raises((IntegrityError, ProgrammingError), match="outbox"):
        rig.write(1)
    assert rig.count("written WHERE number = 1") == 0
    assert rig.count("away" if trouble == "no table" else "bandstand_outbox WHERE body LIKE '%%\"number\":1%%'") == 0
    if trouble == "no table":
        rig.query("ALTER TABLE away RENAME TO bandstand_outbox")
    monkeypatch.undo()
    rig.write(2)
    assert rig.count("written WHERE number = 2") == rig.count("bandstand_outbox WHERE key = '2'") == 1


def test_a_publish_is_an_insert(rig: Rig) -> None:
    """Each publish() is one INSERT in the log of queries, and one NOTIFY follows the commit."""
    connection = connections[rig.platform]
    with CaptureQueriesContext(connection) as queries, transaction.atomic(using=rig.platform):
        publish(Counted(number=2), key="2")
        publish(Counted(number=3), key="3")
    begin, *inserts, commit, notify = [query["sql"] for query in queries]
    assert (begin, commit) == ("BEGIN", "COMMIT")
    assert [insert.startswith("INSERT INTO bandstand_outbox") for insert in inserts] == [True, True]
    assert notify == "NOTIFY bandstand_events, 'outbox'"
    assert rig.query("SELECT key FROM bandstand_outbox ORDER BY id") == [("2",), ("3",)]
    ages = "SELECT count(*) FROM bandstand_outbox WHERE created_at BETWEEN now() - interval '1 minute' AND now()"
    assert rig.query(ages) == [(2,)]


def test_tooth_of_the_insert(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If publish() wrote nothing, the change would last without its event: the ledger would tell."""
    monkeypatch.setitem(failpoints._points, "publish.insert", FailPoint("off"))
    rig.write(1)
    assert rig.count("written") == 1
    assert rig.count("bandstand_outbox") == 0
    assert not rig.done()
    assert rig.ledger().lost == 1


def test_a_listener_comes_back(rig: Rig) -> None:
    """A connection that the server ends is made again, and what was missed meanwhile is looked for."""
    woken = threading.Semaphore(0)
    listener = wakeup.Listener(rig.platform, {"outbox": woken.release})
    listener.start()
    try:
        assert woken.acquire(timeout=GUARD)
        listens = "query LIKE 'LISTEN%%' AND datname = %s"
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listens}"
        assert rig.query(end, rig.platform) == [(True,)]
        assert woken.acquire(timeout=GUARD), "it looks for what it missed"
        rig.write(1)
        assert woken.acquire(timeout=GUARD)
    finally:
        listener.stop()


def test_sent_rows_cost_the_relay_nothing(rig: Rig) -> None:
    """With 20,000 rows sent and a few waiting, the claim reads the index of what waits and not the table."""
    rig.query(
        "INSERT INTO bandstand_outbox (message_id, type, key, body, created_at, sent_at) "
        "SELECT g::text, 'a.b', g::text, '{}', now(), now() FROM generate_series(1, 20000) g"
    )
    rig.write(1)
    rig.query("ANALYZE bandstand_outbox")
    plan = rig.query(
        "EXPLAIN SELECT id FROM bandstand_outbox WHERE sent_at IS NULL AND key NOT IN ("
        "SELECT key FROM bandstand_outbox WHERE sent_at IS NULL AND held_until > statement_timestamp()"
        ") ORDER BY id LIMIT 100"
    )
    text = "\n".join(row[0] for row in plan)
    assert "bandstand_outbox_waiting" in text
    assert "Seq Scan" not in text


class Meeting:
    """A broker that confirms a batch only when another is under way as well."""

    connected = True

    def __init__(self) -> None:
        self.both = threading.Barrier(2)
        self.order: list[str] = []

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        self.both.wait(GUARD)
        self.order += [message.id for message in messages]
        return [None] * len(messages)


def test_two_batches_travel_at_once(rig: Rig) -> None:
    """While a batch is with the broker, the second thread sends the next, and never another event of a key in it."""
    written = [rig.write(number, key=str(number)) for number in range(20)]
    broker: Any = Meeting()
    relay = Relay(broker, open_outbox(rig.platform), msgspec.structs.replace(get_settings().events, batch=5))
    relay.start()
    try:
        rig.until(lambda: not rig.count("bandstand_outbox WHERE sent_at IS NULL"), "all are sent")
    finally:
        broker.both.abort()
        relay.stop()
        assert relay.join(GUARD)
    assert sorted(broker.order) == sorted(written)


class Willing:
    """A broker that confirms everything."""

    connected = True

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        return [None] * len(messages)


class Counting(PostgresOutbox):
    """An outbox that counts the claims that have ended."""

    claims = 0

    def claim(self, limit: int, lease: float) -> list[OutboxRow]:
        claimed = super().claim(limit, lease)
        self.claims += 1
        return claimed


@pytest.mark.parametrize("polls", [True, False])
def test_a_lost_notification_costs_a_poll_interval(rig: Rig, monkeypatch: pytest.MonkeyPatch, polls: bool) -> None:
    """Polling finds what no notification told of; the tooth: switched off, the relay looks once more when it is woken,
    and never by itself.
    """
    if not polls:
        monkeypatch.setitem(failpoints._points, "relay.polling", FailPoint("off"))
    outbox, broker = Counting(rig.platform), cast("Any", Willing())
    relay = Relay(broker, outbox, msgspec.structs.replace(get_settings().events, poll_interval=0.01))
    relay.start()
    try:
        rig.until(lambda: outbox.claims > 0, "the look at the start")
        rig.write(1)
        if not polls:
            relay.wake()
        rig.until(lambda: not rig.count("bandstand_outbox WHERE sent_at IS NULL"), "it is sent")
        assert polls or outbox.claims == 2
    finally:
        relay.stop()
        assert relay.join(GUARD)
