"""Migrations behind PgBouncer, where a session of PostgreSQL belongs to its client for a transaction only."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS
from django.db.utils import ConnectionHandler

from bandstand.migrating import MigrationGuard
from bandstand.testing import EphemeralPostgres
from tests.integration.migrating.conftest import StockService
from tests.integration.migrating.test_migrate import assert_applied_once, errors
from tests.integration.optional.pgbouncer import Pooler, poolers
from tests.waiting import GUARD

pytestmark = pytest.mark.integration

LIMIT = "SELECT current_setting('lock_timeout')"


@pytest.fixture
def pooler(server: EphemeralPostgres) -> Iterator[Pooler]:
    with poolers(server) as start:
        yield start


def test_a_shared_session_is_refused(service: StockService, pooler: Pooler) -> None:
    """Before anything is locked, limited or written; the error names the way, which then works."""
    service.pooler = pooler(sessions=1)
    with service.begin() as refused:
        output, _ = refused.communicate(timeout=GUARD)
    assert refused.returncode == 1
    assert "pool_mode = transaction" in output
    assert "DATABASE_URL that leads to PostgreSQL itself" in output
    assert "Traceback" not in output
    assert service.ask("SELECT to_regclass('django_migrations')") is None
    assert service.ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    assert limits(service) == ["0"]
    service.pooler = None
    assert errors(service.race(1)) == []
    assert_applied_once(service)


def test_nothing_to_do_is_no_reason_to_refuse(service: StockService, pooler: Pooler) -> None:
    """A replica that migrates at its start as well may do so behind any pooler, when a job has done the work."""
    assert errors(service.race(1)) == []
    service.pooler = pooler(sessions=3)
    assert errors(service.race(8)) == []
    assert_applied_once(service)


@pytest.mark.parametrize(("sessions", "pooled_by_session"), [(30, False), (10, True)])
def test_a_pool_by_session_is_as_good_as_none(
    service: StockService, pooler: Pooler, sessions: int, pooled_by_session: bool
) -> None:
    """Eight at once, and each migration is applied once; with the option no second session is needed to find out."""
    service.pooler = pooler(sessions=sessions, pool_mode="session")
    assert errors(service.race(8, pooled_by_session=pooled_by_session)) == []
    assert_applied_once(service)


def test_tooth_a_shared_session_holds_no_lock(service: StockService, pooler: Pooler, django_db_blocker: Any) -> None:
    """What the refusal is for: two have the lock at once, and a third client has the time limit of one of them."""
    service.pooler = pooler(sessions=1)
    first, second = connection_of(service), connection_of(service)
    seen = []

    def migrate() -> None:
        guard = guard_of(second)
        guard.run(lambda: (guard.begin(atomic=True), seen.extend(limits(service))))

    with django_db_blocker.unblock(), closing(first), closing(second):
        guard_of(first).run(migrate)
    assert seen == ["3s"]


def limits(service: StockService) -> list[str]:
    """What another client of the pooler has as its time limit for locks."""
    with psycopg.connect(service.environment["DATABASE_URL"], autocommit=True) as stranger:
        return [value for (value,) in stranger.execute(LIMIT)]


def connection_of(service: StockService) -> Any:
    url = psycopg.conninfo.conninfo_to_dict(service.environment["DATABASE_URL"])
    settings = {"NAME": url["dbname"], "USER": url["user"], "PASSWORD": url["password"], "PORT": url["port"]}
    settings |= {"ENGINE": "bandstand.postgresql", "HOST": url["host"]}
    return ConnectionHandler({DEFAULT_DB_ALIAS: settings})[DEFAULT_DB_ALIAS]


def guard_of(connection: Any) -> MigrationGuard:
    return MigrationGuard(connection, lock_timeout=3, wait=0, tell=lambda _: None)
