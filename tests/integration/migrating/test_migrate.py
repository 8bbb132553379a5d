"""Migrations from many replicas, killed migrators, and tables that somebody holds."""

import threading
from typing import Any

import pytest

from bandstand.migrating.guard import LOCK_ID
from tests.integration.migrating.conftest import StockService
from tests.waiting import GUARD, until

pytestmark = pytest.mark.integration


def assert_applied_once(service: StockService) -> None:
    """All three are recorded once, and the row of the second was written once."""
    recorded = service.ask("SELECT string_agg(name, ' ' ORDER BY id) FROM django_migrations WHERE app = 'stock'")
    assert recorded == "0001_first 0002_second 0003_third"
    assert service.ask("SELECT count(*) FROM stock_item") == 1
    assert service.ask("SELECT count(count) FROM stock_item") == 0


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%'"


def migrate_all_but_the_last(service: StockService) -> None:
    third = service.folder / "stock" / "migrations" / "0003_third.py"
    content = third.read_text()
    third.unlink()
    assert errors(service.race(1)) == []
    third.write_text(content)


def errors(outcomes: list[dict[str, Any]]) -> list[str]:
    return [each["error"] for each in outcomes if each["error"]]


def test_eight_replicas_may_migrate_at_once(service: StockService) -> None:
    """Four times eight processes on an empty database: none fails, and each migration is applied once."""
    for _ in range(4):
        outcomes = service.race(8)
        assert errors(outcomes) == []
        assert_applied_once(service)
        service.new_database()


def test_without_the_guard_they_fail(service: StockService) -> None:
    """Django's own command in the same race: what the guard is for."""
    assert errors(service.race(8, "plain"))


def test_nothing_to_do_takes_no_lock(service: StockService) -> None:
    """A replica that starts while somebody else has the lock does not wait for it."""
    assert errors(service.race(1)) == []
    with service.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
        assert errors(service.race(8, wait=0)) == []


def test_a_killed_migrator_leaves_no_lock(slow_service: StockService) -> None:
    """Also not while its statement would run for an hour: it is ended, undone, and everything is applied once."""
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    with slow_service.begin() as killed:
        until(lambda: slow_service.ask(sleeping), "the slow statement")
        killed.kill()
    first = slow_service.folder / "stock" / "migrations" / "0001_first.py"
    first.write_text(first.read_text().replace("pg_sleep(3600)", "pg_sleep(0)"))
    with slow_service.begin() as following:
        output, _ = following.communicate(timeout=GUARD)
    assert following.returncode == 0, output
    assert_applied_once(slow_service)


def test_a_replica_waits_for_the_one_that_migrates(service: StockService) -> None:
    """It says so, and gives up after the time that it was given, with what to do."""
    with service.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
        [outcome] = service.race(1, wait=0.5)
        assert "Another process migrates this database" in outcome["error"]
        assert "pg_locks" in outcome["error"]
        assert "Waiting, up to 0.5 seconds" in outcome["output"]
    assert errors(service.race(1)) == []


READS = "SELECT count(*) FROM stock_item"
BLOCKED = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = '{READS}'"


def waits_for_the_table(service: StockService) -> bool:
    """Say whether the migration waits for its lock now."""
    return bool(service.ask(WAITING))


class Reader:
    """Reads the table again and again on a connection of its own, for a ``with`` block."""

    def __init__(self, service: StockService) -> None:
        self.reads = 0
        self.failed: list[Exception] = []
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._service.connect() as reader:
            while not self._stop.wait(0.005):
                try:
                    reader.execute(READS)
                except Exception as error:  # noqa: BLE001 - whatever fails is counted
                    self.failed.append(error)
                self.reads += 1

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_table_in_use_holds_nobody_up(service: StockService) -> None:
    """While a long transaction holds the table, the migration steps back again and again: readers go on."""
    migrate_all_but_the_last(service)
    with Reader(service) as reader, service.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT * FROM stock_item")
        with service.begin("--lock-timeout", "0.3") as migrator:
            for _ in range(3):  # it waits, steps back, and waits again
                until(lambda: waits_for_the_table(service), "the migration to wait")
                until(lambda: not waits_for_the_table(service), "the migration to step back")
                before = reader.reads
                until(lambda: reader.reads > before + 1, "the reader to go on")  # noqa: B023 - called before it changes
            holder.execute("COMMIT")
            output, _ = migrator.communicate(timeout=GUARD)
    assert migrator.returncode == 0, output
    assert "A table is in use by somebody's long transaction. Waiting" in output
    assert reader.failed == []
    assert_applied_once(service)


def test_without_a_limit_a_table_in_use_holds_everybody_up(service: StockService) -> None:
    """Django's own command waits in front of every reader: what the limit is for."""
    migrate_all_but_the_last(service)
    with service.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT * FROM stock_item")
        with service.begin("--lock-timeout", "3600") as migrator:
            until(lambda: waits_for_the_table(service), "the migration to wait")
            with Reader(service) as reader:
                until(lambda: service.ask(BLOCKED), "the reader to wait")
                before = reader.reads
                holder.execute("COMMIT")
                until(lambda: reader.reads > before, "the reader to go on")
            migrator.communicate(timeout=GUARD)
    assert_applied_once(service)
