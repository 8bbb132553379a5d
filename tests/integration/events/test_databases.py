"""The same promises on MariaDB and on SQLite: nothing lost, nothing twice, order for each key, through kill -9."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from bandstand import failpoints
from bandstand.events.checks import check_transactions, tell_shortcomings
from bandstand.events.envelope import decode
from bandstand.events.errors import BrokenTransaction, HandlerFailed
from bandstand.events.handling import Handling
from bandstand.events.history import History
from bandstand.events.inbox import Entry, HandledElsewhere, Inbox
from bandstand.events.models import HistoryEntry, InboxMessage, OutboxMessage
from bandstand.events.outbox import OutboxRow, open_outbox
from bandstand.events.subscriptions import Subscription
from bandstand.failpoints import FailPoint
from tests.integration.events.conftest import ROOT, SETTINGS, ZERO, Rig
from tests.integration.events.databases import MARIADB_TABLES, SQLITE_TABLES, Sqlite
from tests.integration.events.test_faults import dies, messages
from tests.integration.optional.mariadb import MariaDb
from tests.integration.servers import Nats
from tests.waiting import GUARD

pytestmark = pytest.mark.fault

TEMPLATE = "template_ledger"


def migrate(url: str) -> str:
    environment = {"DATABASE_URL": url, "LEDGER_PLATFORM": "x", "BROKER_URL": "memory://"}
    command = [sys.executable, "-W", "error", "-m", "django", "migrate", "--settings", SETTINGS]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    with closing(server):
        server.start()
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        assert "W037" not in migrate(server.url(TEMPLATE))
        for table in MARIADB_TABLES:
            server.execute(table, TEMPLATE)
        yield server


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    folder = Sqlite(tmp_path_factory.mktemp("sqlite"))
    migrate(folder.url(TEMPLATE))
    for table in SQLITE_TABLES:
        folder.execute(table, TEMPLATE)
    return folder


@pytest.fixture(params=["mariadb", "sqlite"])
def rig(request: pytest.FixtureRequest, nats: Nats, django_db_blocker: Any) -> Iterator[Rig]:
    server = request.getfixturevalue(request.param)
    with django_db_blocker.unblock(), closing(Rig(server, nats, TEMPLATE)) as made:
        yield made


@pytest.fixture
def maria(mariadb: MariaDb, nats: Nats, django_db_blocker: Any) -> Iterator[Rig]:
    """Where only MariaDB is meant."""
    with django_db_blocker.unblock(), closing(Rig(mariadb, nats, TEMPLATE)) as made:
        yield made


def test_every_event_has_its_effects_once_and_in_order(rig: Rig) -> None:
    """What is committed arrives in each subscription, each key in order; status and trace tell of it."""
    with transaction.atomic(using=rig.platform):
        rig.write_many(100)
    last = rig.write(100, key="1")
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == rig.ledger("watcher") == ZERO
    rows = rig.query("SELECT message_id, number FROM effect WHERE subscription = 'counted' ORDER BY id")
    for key in range(10):
        numbers = [number for _, number in rows if number % 10 == key and number < 100]
        assert numbers == sorted(numbers)
    status = json.loads(rig.command("events", "status", "--json"))
    assert (status["outbox"]["pending"], status["sent"]) == (0, 101)
    assert "counted: handled" in rig.command("events", "trace", last)


def test_a_relay_killed_on_the_way_loses_and_repeats_nothing(rig: Rig) -> None:
    """A relay that dies between confirmation and record is followed by another that finishes."""
    with transaction.atomic(using=rig.platform):
        rig.write_many(40)
    dies(rig, rig.worker("--only", "relay", failpoints="relay.after_publish=kill:1"))
    assert rig.count("bandstand_outbox WHERE sent_at IS NULL") == 40, "nothing counts as sent before the record"
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == rig.ledger("watcher") == ZERO


@pytest.mark.parametrize("point", ["consumer.after_handler", "consumer.before_acknowledge"])
def test_a_consumer_killed_in_the_middle_has_each_effect_once(rig: Rig, point: str) -> None:
    """Killed before the commit the event is handled again; killed after it, its repetition has no effect."""
    process = rig.ready_worker(failpoints=f"{point}=kill:5")
    with transaction.atomic(using=rig.platform):
        rig.write_many(20)
    dies(rig, process)
    rig.ready_worker()
    rig.until(lambda: rig.at_rest("counted", "watcher"), "all effects, and nothing comes again")
    assert rig.ledger() == rig.ledger("watcher") == ZERO


def test_without_the_inbox_effects_would_repeat(rig: Rig) -> None:
    """The tooth: with the inbox switched off, the same kill makes the ledger count duplicates."""
    process = rig.ready_worker(failpoints="consumer.inbox,consumer.before_acknowledge=kill:5")
    with transaction.atomic(using=rig.platform):
        rig.write_many(20)
    dies(rig, process)
    rig.ready_worker(failpoints="consumer.inbox")
    rig.until(lambda: rig.repeats("counted", "watcher", "typed"), "a repeated effect")


def test_two_relays_share_the_work_and_keep_the_order(rig: Rig) -> None:
    """With two relays at once, each event is published once and each key's events in their order."""
    for _ in range(2):
        rig.worker("--only", "relay", events={"BATCH": 7})
    for start in range(0, 300, 50):
        with transaction.atomic(using=rig.platform):
            rig.write_many(50, start)
    rig.until(lambda: not rig.count("bandstand_outbox WHERE sent_at IS NULL"), "all are sent")
    found = messages(rig)
    assert sorted(number for _, number in found) == list(range(300))
    for key in {key for key, _ in found}:
        numbers = [number for each, number in found if each == key]
        assert numbers == sorted(numbers)


def test_a_failing_event_is_retried_and_then_dead_and_replayed(rig: Rig) -> None:
    """Its key waits meanwhile, others go on; the dead letter is replayed by the command."""
    rig.ready_worker()
    rig.write(0, key="a", do="fail:3")
    rig.write(1, key="a")
    rig.write(2, key="b")
    rig.until(lambda: rig.count("bandstand_dead_letter") == 1, "the dead letter")
    rig.until(lambda: rig.done(1, 2), "the others")
    assert "ValueError: attempt 3" in rig.command("events", "dead", "list", "--error", "VALUEERROR")
    assert "Handled 1." in rig.command("events", "dead", "replay", "--all", "--wait", "120")
    assert rig.ledger() == rig.ledger("watcher") == ZERO


def test_batches_are_handled_together(rig: Rig) -> None:
    """A handler that takes batches has each effect once, and a poisonous event costs only itself."""
    with transaction.atomic(using=rig.platform):
        for number in range(60):
            rig.write(number, do="poison" if number == 30 else "")
    rig.ready_worker(LEDGER_BATCH="20")
    rig.until(lambda: rig.count("bandstand_dead_letter WHERE subscription = 'batched'") == 1, "the dead letter")
    rig.until(lambda: len(rig.effects("batched")) == 59, "all others")
    assert set(rig.effects("batched")) == set(range(60)) - {30}


def test_sigterm_finishes_what_is_in_flight(rig: Rig) -> None:
    """A worker that is asked to stop ends its handlers and exits well; what is left is handled by the next, once."""
    process = rig.ready_worker()
    with transaction.atomic(using=rig.platform):
        rig.write_many(30)
    rig.until(lambda: bool(rig.effects()), "it has begun")
    assert rig.stop(process, signal.SIGTERM) == 0
    rig.ready_worker()
    rig.until(rig.settled, "all effects")
    assert rig.ledger() == rig.ledger("watcher") == ZERO


def test_old_rows_are_purged(rig: Rig) -> None:
    """Outbox, inbox and history lose what is older than its retention, and nothing else."""
    alias = rig.platform
    rig.write_many(3)
    outbox = open_outbox(alias)
    outbox.mark_sent(outbox.claim(2, 60.0))
    assert outbox.purge(3600, 100) == 0
    assert outbox.purge(-60, 100) == 2
    assert OutboxMessage.objects.using(alias).count() == 1
    inbox, history = Inbox(alias), History(alias)
    with transaction.atomic(using=alias):
        inbox.enter("counted", "message", "key")
    history.tell(HistoryEntry.What.FAILED, "counted", "message")
    assert (inbox.purge(3600, 100), history.purge(3600, 100)) == (0, 0)
    assert (inbox.purge(-60, 100), history.purge(-60, 100)) == (1, 1)


# --- MariaDB alone -----------------------------------------------------------------------------------


def claim_while_another_claims(rig: Rig) -> list[OutboxRow]:
    """Claim one row while another relay has claimed one and not committed yet; return what the second got."""
    rig.write(1, key="same")
    rig.write(2, key="same")
    got: list[OutboxRow] = []

    def second() -> None:
        got.extend(open_outbox(rig.platform).claim(1, 60.0))
        connections[rig.platform].close()

    outbox = open_outbox(rig.platform)
    thread = threading.Thread(target=second)
    with outbox._turn(), transaction.atomic(using=rig.platform):
        [row] = OutboxMessage.objects.using(rig.platform).order_by("id")[:1]
        OutboxMessage.objects.using(rig.platform).filter(pk=row.pk).update(held_until="2999-01-01 00:00:00+00:00")
        thread.start()
        rig.until(lambda: not thread.is_alive() or is_kept_waiting(rig), "the second has claimed, or waits")
    thread.join(GUARD)
    return got


def is_kept_waiting(rig: Rig) -> bool:
    """Say whether a session waits for its turn or for a row."""
    return any(
        rig.count(f"information_schema.{where}")
        for where in ("processlist WHERE state = 'User lock'", "innodb_trx WHERE trx_state = 'LOCK WAIT'")
    )


def test_a_key_is_held_by_one_relay(maria: Rig) -> None:
    """A relay that claims at the same moment waits, and gets nothing of a key of which another has a row."""
    assert claim_while_another_claims(maria) == []


def test_without_turns_two_relays_would_hold_a_key(maria: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tooth: with the turn switched off the second relay does not see what the first has not committed yet."""
    monkeypatch.setitem(failpoints._points, "outbox.turn", FailPoint("off"))
    assert [row.key for row in claim_while_another_claims(maria)] == ["same"]


def test_ids_that_look_alike_are_different(maria: Rig) -> None:
    """Upper case, an accent and a space at the end make another id, so no event is taken for a repetition."""
    inbox = Inbox(maria.platform)
    with transaction.atomic(using=maria.platform):
        entries = [inbox.enter("counted", each, "k").value for each in ("a", "A", "\u00e4", "a ", "\U0001f3ba", "a")]
    assert entries == ["first"] * 5 + ["duplicate"]


def test_one_who_hangs_in_the_handler_holds_up_nobody(maria: Rig) -> None:
    """An event that another transaction has entered and not committed is given up for now after a second."""
    inbox = Inbox(maria.platform)
    raised: list[Exception] = []

    def other() -> None:
        try:
            with transaction.atomic(using=maria.platform):
                inbox.enter_again("counted", "message")
        except HandledElsewhere as error:
            raised.append(error)
        with connections[maria.platform].cursor() as cursor:
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            raised.append(cursor.fetchone())
        connections[maria.platform].close()

    with transaction.atomic(using=maria.platform):
        inbox.enter("counted", "message", "key")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(GUARD)
    assert isinstance(raised[0], HandledElsewhere)
    assert raised[1] == (50,), "the handler's statements have the usual limit"
    assert InboxMessage.objects.using(maria.platform).count() == 1


class Victim:
    """A handler that loses a deadlock with another transaction, and goes on as if nothing were."""

    def __init__(self, rig: Rig) -> None:
        self.alias = rig.platform
        self.has_one, self.has_two = threading.Event(), threading.Event()
        self.lost = False

    def update(self, number: int) -> None:
        with connections[self.alias].cursor() as cursor:
            cursor.execute("UPDATE written SET number = number WHERE number = %s", [number])

    def rival(self) -> None:
        """Has done more, so it is not the one that the server chooses to undo."""
        with transaction.atomic(using=self.alias):
            with connections[self.alias].cursor() as cursor:
                cursor.executemany("INSERT INTO written VALUES (%s)", [[number] for number in range(100, 200)])
            self.update(2)
            self.has_two.set()
            self.has_one.wait(GUARD)
            self.update(1)
        connections[self.alias].close()

    def __call__(self, event: dict) -> None:  # type: ignore[type-arg]
        self.update(1)
        self.has_one.set()
        self.has_two.wait(GUARD)
        try:
            self.update(2)
        except OperationalError:
            self.lost = True

    def handle(self) -> Entry:
        """Be handled, while the rival is at it."""

        def call(event: dict) -> None:  # type: ignore[type-arg]
            self(event)

        subscription = Subscription(name="counted", pattern="number.counted", handler=call)
        body = b'{"specversion": "1.0", "id": "message", "source": "s", "type": "number.counted", "data": {}}'
        message, _ = decode(body)
        enter = partial(Inbox(self.alias).enter, "counted", "message", "key")
        rival = threading.Thread(target=self.rival)
        rival.start()
        try:
            return Handling(self.alias, timeout=GUARD).run(subscription, message, {}, enter=enter)
        finally:
            rival.join(GUARD)
            assert self.lost


def test_a_victim_of_a_deadlock_may_not_go_on(maria: Rig) -> None:
    """The server undoes the whole of its transaction, the inbox row too: a handler that swallows the error fails."""
    maria.query("INSERT INTO written VALUES (1), (2)")
    with pytest.raises(HandlerFailed) as caught:
        Victim(maria).handle()
    assert isinstance(caught.value.__cause__, BrokenTransaction)


def test_a_swallowed_deadlock_would_lose_the_inbox_row(maria: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tooth: when nobody looks for it, the event counts as handled, and nothing remembers that it was."""
    monkeypatch.setattr("bandstand.events.handling._DEADLOCK", 0)
    maria.query("INSERT INTO written VALUES (1), (2)")
    assert Victim(maria).handle() is Entry.FIRST
    assert maria.count("bandstand_inbox") == 0


def test_a_server_that_is_killed_loses_nothing(maria: Rig, mariadb: MariaDb) -> None:
    """After SIGKILL of MariaDB what was committed has its effect once; the worker heals by itself."""
    process = maria.ready_worker()
    maria.write_many(10)
    mariadb.kill()
    connections[maria.platform].close()
    mariadb.start()
    maria.write_many(10, 10)
    maria.until(maria.settled, "all effects")
    assert maria.ledger() == maria.ledger("watcher") == ZERO
    assert process.poll() is None, "the worker itself never died"


def test_the_relay_reads_an_index_of_what_waits(maria: Rig) -> None:
    """Rows that were sent and are kept cost a claim nothing."""
    maria.query(
        "INSERT INTO bandstand_outbox (message_id, type, `key`, body, created_at, sent_at) "
        "SELECT seq, 'a.b', seq, '{}', now(), now() FROM seq_1_to_5000"
    )
    maria.write(1)
    maria.query("ANALYZE TABLE bandstand_outbox")
    plan = maria.query("EXPLAIN SELECT id FROM bandstand_outbox WHERE sent_at IS NULL ORDER BY id LIMIT 250")
    assert "bandstand_outbox_sent" in str(plan)
    assert int(plan[0][8]) < 100, "rows that it expects to look at"


# --- what is checked ---------------------------------------------------------------------------------


def found(rig: Rig, *, deploy: bool = False) -> dict[str, str]:
    """The identifiers of the room's messages with their texts."""
    told = [*check_transactions(None, databases=[rig.platform]), *(tell_shortcomings(None) if deploy else ())]
    return {str(each.id): each.msg for each in told}


def test_a_good_database_has_nothing_to_complain_of(rig: Rig) -> None:
    """Neither has an error; for production SQLite is warned about, and both say that the relay polls."""
    told = rig.command("check", "--database", "default", "--fail-level", "WARNING")
    assert "System check identified no issues" in told
    assert found(rig) == {}
    told = found(rig, deploy=True)
    assert "bandstand.events.I001" in told
    assert ("bandstand.events.W002" in told) == (connections[rig.platform].vendor == "sqlite")


def test_tables_without_transactions_are_refused(maria: Rig) -> None:
    """A table of MyISAM would keep an event whose transaction was rolled back: an error, and no worker starts on it."""
    maria.query("ALTER TABLE bandstand_inbox ENGINE = MyISAM")
    assert "bandstand_inbox" in found(maria)["bandstand.events.E002"]
    process = maria.worker()
    assert process.wait(GUARD) == 1
    assert "bandstand_inbox" in maria.log.read_text()


@pytest.mark.parametrize(
    ("level", "identifier"),
    [("read uncommitted", "bandstand.events.E003"), ("repeatable read", "bandstand.events.W003")],
)
def test_the_isolation_level_is_looked_at(maria: Rig, level: str, identifier: str) -> None:
    """READ UNCOMMITTED is refused, and what locks gaps is warned about."""
    connection = connections[maria.platform]
    connection.close()
    connection.settings_dict["OPTIONS"]["isolation_level"] = level
    assert identifier in found(maria)


def test_sqlite_should_write_ahead(sqlite: Sqlite, nats: Nats, django_db_blocker: Any) -> None:
    """Without WAL and IMMEDIATE, relay and handlers fail at each other: a warning says what to set."""
    with django_db_blocker.unblock(), closing(Rig(sqlite, nats, TEMPLATE)) as rig:
        connection = connections[rig.platform]
        connection.close()
        connection.settings_dict["OPTIONS"] = {"init_command": "PRAGMA journal_mode=DELETE"}
        assert "begin DEFERRED" in found(rig)["bandstand.events.W004"]


def test_checks_wait_for_a_database_that_is_down(mariadb: MariaDb, nats: Nats, django_db_blocker: Any) -> None:
    """What can't be asked is not refused; the worker waits for it."""
    with django_db_blocker.unblock(), closing(Rig(mariadb, nats, TEMPLATE)) as rig:
        connection = connections[rig.platform]
        connection.close()
        connection.settings_dict["PORT"] = "1"
        assert found(rig) == {}
