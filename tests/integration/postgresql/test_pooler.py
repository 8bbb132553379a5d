"""The backend behind PgBouncer, where a session of PostgreSQL belongs to its client for a transaction only."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from threading import Timer
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError
from django.db.utils import ConnectionHandler

from bandstand.context import current
from bandstand.exceptions import DeadlineExceeded
from tests.integration.optional.pgbouncer import PgBouncer, Pooler, poolers
from tests.waiting import GUARD

from .conftest import Connect
from .server import RestartablePostgres
from .test_deadlines import block, execute, within

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
SETTINGS = dict(
    re.findall(r"^(\w+) = (\w+)$", (ROOT / "docs" / "how-to" / "run-behind-pgbouncer.md").read_text(), re.MULTILINE)
)
DJANGO = "django.db.backends.postgresql"


@pytest.fixture
def pooler(postgres: RestartablePostgres) -> Iterator[Pooler]:
    with poolers(postgres) as start:
        yield start


@pytest.fixture
def one_session(pooler: Pooler) -> PgBouncer:
    """All clients have the same session, one after the other."""
    return pooler(sessions=1)


@pytest.fixture(autouse=True)
def table(postgres: RestartablePostgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS things")
        admin.execute("CREATE TABLE things (id int PRIMARY KEY, name text)")


@contextmanager
def client(pooler: PgBouncer, **options: Any) -> Iterator["psycopg.Connection[Any]"]:
    """Somebody else."""
    with psycopg.connect(pooler.url("postgres"), **options) as connection:
        yield connection


@contextmanager
def session_taken(pooler: PgBouncer) -> "Iterator[psycopg.Connection[Any]]":
    """Somebody else has a session, up to the guard: whoever waits for it then gets one, too late."""
    with client(pooler) as holder:
        holder.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{GUARD:g}s'")  # type: ignore[arg-type]
        yield holder


def in_autocommit(connection: Any) -> None:
    execute(connection, "SELECT 1")
    execute(connection, "INSERT INTO things VALUES (%s, 'lamp')", [1])


def in_a_transaction(connection: Any) -> None:
    with block(connection):
        execute(connection, "INSERT INTO things VALUES (%s, 'lamp')", [1])


def that_is_undone(connection: Any) -> None:
    with pytest.raises(ZeroDivisionError), block(connection):  # noqa: PT012
        execute(connection, "INSERT INTO things VALUES (%s, 'lamp')", [1])
        raise ZeroDivisionError


def that_fails(connection: Any) -> None:
    with pytest.raises(DatabaseError):
        execute(connection, "SELECT 1/0")
    with pytest.raises(DatabaseError), block(connection):
        execute(connection, "SELECT 1/0")


def with_a_savepoint_undone(connection: Any) -> None:
    with block(connection):
        with pytest.raises(ZeroDivisionError), block(connection):  # noqa: PT012
            execute(connection, "SELECT 1")
            raise ZeroDivisionError
        execute(connection, "SELECT 1")


def many_at_once(connection: Any) -> None:
    with block(connection), connection.cursor() as cursor:
        cursor.executemany("INSERT INTO things VALUES (%s, 'lamp')", [(1,), (2,)])


def rows_in_pieces(connection: Any) -> None:
    with block(connection), connection.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, %s)", [500])
        assert len(cursor.fetchall()) == 500


def whose_client_vanishes(connection: Any) -> None:
    connection.set_autocommit(False)
    execute(connection, "INSERT INTO things VALUES (%s, 'lamp')", [1])
    psycopg.pq.PGconn.finish(connection.connection.pgconn)  # as when its process is killed


WAYS = (
    in_autocommit, in_a_transaction, that_is_undone, that_fails, with_a_savepoint_undone, many_at_once, rows_in_pieces,
    whose_client_vanishes,
)  # fmt: skip


def limits_of_others(one_session: PgBouncer, connect: Connect, work: Callable[[Any], None]) -> set[str]:
    """The limits for statements that another client sees after ``work`` had a deadline, on the same session."""
    one = connect(port=one_session.port)[DEFAULT_DB_ALIAS]
    seen = set()
    with client(one_session, autocommit=True) as stranger:
        with within(600):
            work(one)
            seen.update(stranger.execute("SELECT current_setting('statement_timeout')").fetchone() or ())
        with stranger.transaction():
            seen.update(stranger.execute("SELECT current_setting('statement_timeout')").fetchone() or ())
    return seen


@pytest.mark.parametrize("work", WAYS)
def test_a_limit_never_reaches_another_client(
    one_session: PgBouncer, connect: Connect, work: Callable[[Any], None]
) -> None:
    """Whatever becomes of a statement with a deadline, whoever has its session next has no limit."""
    assert limits_of_others(one_session, connect, work) == {"0"}


@pytest.mark.parametrize("work", [in_autocommit, in_a_transaction])
def test_tooth_a_setting_of_the_session_would(
    one_session: PgBouncer, connect: Connect, monkeypatch: pytest.MonkeyPatch, work: Callable[[Any], None]
) -> None:
    """With SET instead of SET LOCAL the other client has the limit."""
    monkeypatch.setattr("bandstand.postgresql.deadlines._LIMIT", "SET statement_timeout = %s;")
    assert limits_of_others(one_session, connect, work) - {"0"}


def test_a_deadline_holds(one_session: PgBouncer, connect: Connect) -> None:
    """A statement that runs too long ends, in a transaction and without one, and the session is good for others."""
    connection = connect(port=one_session.port)[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    with pytest.raises(DeadlineExceeded), within(1):
        execute(connection, "SELECT pg_sleep(%s)", [GUARD])
    with pytest.raises(DeadlineExceeded), within(1), block(connection):
        execute(connection, "SELECT pg_sleep(%s)", [GUARD])
    assert execute(connection, "SELECT 1") == [(1,)]


def test_a_wait_for_a_session_ends_with_the_deadline(
    one_session: PgBouncer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others have all sessions a request waits no longer than its caller, and takes nobody's connection away."""
    monkeypatch.setattr("bandstand.postgresql.pool._CHECK_TIMEOUT", 2 * GUARD)
    handler = connect(port=one_session.port, pool={"min_size": 2, "max_size": 2})
    pool = handler[DEFAULT_DB_ALIAS].pool
    pool.open()
    pool.wait()
    spare = pool._pool[-1]
    with session_taken(one_session), pytest.raises(DeadlineExceeded), within(0.3):
        execute(handler[DEFAULT_DB_ALIAS], "SELECT 1")
    assert not spare.closed
    assert execute(handler[DEFAULT_DB_ALIAS], "SELECT 1") == [(1,)]


@pytest.mark.parametrize("in_block", [False, True])
def test_a_wait_in_the_queue_ends_with_the_deadline(one_session: PgBouncer, connect: Connect, in_block: bool) -> None:
    """No limit of PostgreSQL sees a statement there: the request gives it up itself, and it is never carried out."""
    connection = connect(port=one_session.port)[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    surrounding = block(connection) if in_block else nullcontext()
    with session_taken(one_session), pytest.raises(DeadlineExceeded), within(0.3), surrounding:
        execute(connection, "INSERT INTO things VALUES (%s, 'lamp')", [1])
    connection.close()
    assert execute(connection, "SELECT count(*) FROM things") == [(0,)]


def test_tooth_without_patience_at_an_end_the_request_waits(
    one_session: PgBouncer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as others have the sessions, whatever its deadline."""
    monkeypatch.setattr("bandstand.postgresql.waiting._GRACE", GUARD)
    connection = connect(port=one_session.port)[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    with session_taken(one_session) as holder, within(1):
        release = Timer(2.5, holder.rollback)
        release.start()
        assert execute(connection, "SELECT 1") == [(1,)]
        release.join()
        assert current().expired()


def test_pgbouncer_ends_the_wait_of_a_statement(pooler: Pooler, connect: Connect) -> None:
    """Also of one without a deadline: that is what query_wait_timeout is for."""
    queue = pooler(sessions=1, **{**SETTINGS, "query_wait_timeout": 1})
    connection = connect(port=queue.port)[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    with session_taken(queue), pytest.raises(OperationalError, match="query_wait_timeout"):
        execute(connection, "SELECT 1")
    assert set(SETTINGS) == {"pool_mode", "query_wait_timeout"}, "those that the page recommends"
    connection.close()
    assert execute(connection, "SELECT 1") == [(1,)]


def test_rows_in_pieces_are_our_own(pooler: Pooler, connect: Connect) -> None:
    """Outside a transaction no cursor of the server is left in a session that others have meanwhile."""
    assert rows_read(pooler(sessions=2), connect, "bandstand.postgresql") == ["mine"] * 300


def test_tooth_django_reads_the_rows_of_others(pooler: Pooler, connect: Connect) -> None:
    """Two processes that were forked name their cursors alike, and one gets what the other asked for."""
    assert "theirs" in rows_read(pooler(sessions=2), connect, DJANGO)


def rows_read(two_sessions: PgBouncer, connect: Connect, engine: str) -> list[str]:
    """Ask for 300 rows of ours and let somebody ask for theirs, before the first of ours is fetched."""
    ask = "SELECT %s FROM generate_series(1, 300)"
    mine, theirs = (without_a_pool(connect, two_sessions.port, engine)[DEFAULT_DB_ALIAS] for _ in range(2))
    for connection in (mine, theirs):
        connection.ensure_connection()
    with client(two_sessions) as other, ExitStack() as cursors:
        my_rows, their_rows = (cursors.enter_context(each.chunked_cursor()) for each in (mine, theirs))
        for connection in (mine, theirs):  # before the cursors, which may not find themselves
            cursors.callback(connection.connection.close)
        my_rows.execute(ask, ["mine"])
        other.execute("SELECT 1")  # has the session that we had, while they ask and we fetch
        their_rows.execute(ask, ["theirs"])
        return [value for (value,) in my_rows.fetchmany(300)]


def test_the_time_zone_is_the_clients_own(
    one_session: PgBouncer, connect: Connect, postgres: RestartablePostgres
) -> None:
    """PgBouncer carries it along: neither the server nor another client changes our moments."""
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("ALTER DATABASE postgres SET timezone = 'Asia/Kolkata'")
    try:
        connection = connect(port=one_session.port)[DEFAULT_DB_ALIAS]
        with client(one_session, autocommit=True) as stranger:
            for zone in ("America/Lima", "Asia/Tokyo"):
                stranger.execute(f"SET TIME ZONE '{zone}'")  # type: ignore[arg-type]
                assert execute(connection, "SHOW timezone") == [("UTC",)]
                [(moment,)] = execute(connection, "SELECT '2026-01-01 00:00:00+00'::timestamptz")
                assert moment.isoformat() == "2026-01-01T00:00:00+00:00"
                assert stranger.execute("SHOW timezone").fetchone() == (zone,)
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute("ALTER DATABASE postgres RESET timezone")


def test_a_restart_of_the_pooler_costs_no_later_request(one_session: PgBouncer, connect: Connect) -> None:
    """The pool replaces what the pooler took along, as it does when PostgreSQL restarts."""
    handler = connect(port=one_session.port, pool={"min_size": 4, "max_size": 4})
    pool = handler[DEFAULT_DB_ALIAS].pool
    pool.open()
    pool.wait()
    one_session.kill()
    one_session.start()

    def ask(_: int) -> list[Any]:
        connection = handler[DEFAULT_DB_ALIAS]
        try:
            return execute(connection, "SELECT 1")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(20))) == [[(1,)]] * 20


def test_a_role_is_refused(
    one_session: PgBouncer, connect: Connect, postgres: RestartablePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``check --database`` names the option that reaches other clients, and says nothing on a session of our own."""
    direct, shared = (with_a_role(connect, port) for port in (postgres.port, one_session.port))
    monkeypatch.setattr("django.core.checks.database.connections", direct)
    call_command("check", databases=[DEFAULT_DB_ALIAS])
    monkeypatch.setattr("django.core.checks.database.connections", shared)
    with pytest.raises(SystemCheckError, match=r"postgresql\.E001.*assume_role"):
        call_command("check", databases=[DEFAULT_DB_ALIAS])


def test_tooth_a_role_reaches_others(one_session: PgBouncer, connect: Connect) -> None:
    """The next client of the session is somebody else in the eyes of PostgreSQL."""
    execute(with_a_role(connect, one_session.port)[DEFAULT_DB_ALIAS], "SELECT 1")
    with client(one_session) as stranger:
        assert stranger.execute("SELECT current_user").fetchone() == ("pg_monitor",)


def test_startup_options_are_refused(one_session: PgBouncer) -> None:
    """PgBouncer itself says so when somebody connects."""
    with (
        pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"),
        client(one_session, options="-c lock_timeout=600ms"),
    ):
        pass


def with_a_role(connect: Connect, port: int) -> ConnectionHandler:
    """Without a pool: Django would wait for a second connection of it to set the role on the first."""
    return without_a_pool(connect, port, assume_role="pg_monitor")


def without_a_pool(
    connect: Connect, port: int, engine: str = "bandstand.postgresql", **options: Any
) -> ConnectionHandler:
    """One connection for each thread, and nothing in the background that has a session now and then."""
    handler = connect(engine, port=port, **options)
    handler.settings[DEFAULT_DB_ALIAS]["OPTIONS"]["pool"] = None
    return handler
