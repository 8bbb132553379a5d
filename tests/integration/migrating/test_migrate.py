"""Migrations from many replicas, killed migrators, and tables that somebody holds."""

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from bandstand.migrating.guard import LOCK_ID
from tests.integration.migrating.conftest import StockService

pytestmark = pytest.mark.integration

SOON = 30.0


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


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


def test_nothing_to_do_costs_little(service: StockService) -> None:
    """At most 200 ms more than Django's own command, which does nothing as well."""
    assert errors(service.race(1)) == []
    [plain], [guarded] = (service.race(1, kind, times=9) for kind in ("plain", "guarded"))
    added = median(guarded["seconds"]) - median(plain["seconds"])
    print(f"a migrate with nothing to do takes {added * 1000:.0f} ms more than Django's own")
    assert added <= 0.2


def test_a_killed_migrator_leaves_no_lock(slow_service: StockService) -> None:
    """Also not while its statement would run for a minute: it is ended, undone, and everything is applied once."""
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    with slow_service.begin() as killed:
        wait_for(lambda: slow_service.ask(sleeping))
        killed.kill()
    first = slow_service.folder / "stock" / "migrations" / "0001_first.py"
    first.write_text(first.read_text().replace("pg_sleep(60)", "pg_sleep(0)"))
    with slow_service.begin() as following:
        output, _ = following.communicate(timeout=SOON)
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


def test_a_table_in_use_holds_nobody_up(service: StockService) -> None:
    """While a long transaction holds the table, the migration steps back again and again: readers go on."""
    migrate_all_but_the_last(service)
    stop, latencies, failed = threading.Event(), [], []

    def read() -> None:
        with service.connect() as reader:
            while not stop.is_set():
                begun = time.monotonic()
                try:
                    reader.execute("SELECT count(*) FROM stock_item")
                except Exception as error:  # noqa: BLE001 - whatever fails is counted
                    failed.append(error)
                latencies.append(time.monotonic() - begun)
                time.sleep(0.005)

    with service.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT * FROM stock_item")
        reader = threading.Thread(target=read)
        reader.start()
        with service.begin("--lock-timeout", "0.3") as migrator:
            for _ in range(3):  # it waits, steps back, and waits again
                wait_for(lambda: service.ask(WAITING))
                wait_for(lambda: not service.ask(WAITING))
            holder.execute("COMMIT")
            output, _ = migrator.communicate(timeout=SOON)
        stop.set()
        reader.join()
    assert migrator.returncode == 0, output
    assert "A table is in use by somebody's long transaction. Waiting" in output
    assert failed == []
    # One wait of the migration is the longest that a reader can have: 0.3 s, and then some for a busy machine.
    assert max(latencies) < 5
    assert_applied_once(service)


def test_without_a_limit_a_table_in_use_holds_everybody_up(service: StockService) -> None:
    """Django's own command waits in front of every reader: what the limit is for."""
    migrate_all_but_the_last(service)
    with service.connect() as holder, service.connect() as reader:
        holder.execute("BEGIN")
        holder.execute("SELECT * FROM stock_item")
        with service.begin("--lock-timeout", "60") as migrator:
            wait_for(lambda: service.ask(WAITING))
            reader.execute("SET statement_timeout = '500ms'")
            with pytest.raises(Exception, match="statement timeout"):
                reader.execute("SELECT count(*) FROM stock_item")
            holder.execute("COMMIT")
            migrator.communicate(timeout=SOON)
    assert_applied_once(service)
