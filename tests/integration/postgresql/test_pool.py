import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError
from django.db.utils import ConnectionHandler
from psycopg.sql import SQL, Identifier

from bandstand.context import carry
from bandstand.workspace.runtime.ports import is_free
from tests.waiting import until

from .conftest import Connect, ask, fill
from .server import RestartablePostgres

pytestmark = pytest.mark.integration


KILLS = 8 if "BANDSTAND_FAULT_SECONDS" in os.environ else 2
ATTEMPTS = 8  # psycopg's own pool doubles its pauses, so that it would need two minutes for as many
TWO = {"min_size": 2, "max_size": 2}
DJANGO = "django.db.backends.postgresql"


def refusal(handler: ConnectionHandler) -> str:
    """Return why a request got no answer from the database, or nothing if it got one."""
    try:
        ask(handler)
    except OperationalError as error:
        return str(error)
    return ""


def stats(handler: ConnectionHandler, name: str) -> int:
    return int(handler[DEFAULT_DB_ALIAS].pool.get_stats().get(name, 0))


def works_again(handler: ConnectionHandler) -> None:
    until(lambda: not refusal(handler), "the pool to come back")


def dead_that_requests_met(postgres: RestartablePostgres, handler: ConnectionHandler) -> int:
    """Return how many dead connections ten requests were given after a restart, which all succeed in the end."""
    fill(handler, 2)
    postgres.kill()
    postgres.start()
    assert [ask(handler) for _ in range(10)] == [(1,)] * 10
    return stats(handler, "connections_lost")


def test_a_restart_costs_one_request_one_dead_connection(postgres: RestartablePostgres, connect: Connect) -> None:
    """With a pool full of dead connections the first that is found makes the pool replace all, so no request waits."""
    assert dead_that_requests_met(postgres, connect(pool=TWO)) == 1


def test_tooth_without_healing_requests_meet_all_of_them(postgres: RestartablePostgres, connect: Connect) -> None:
    """Django's own pool finds one dead connection after the other, and waits longer after each."""
    assert dead_that_requests_met(postgres, connect(DJANGO, pool=TWO)) == 2


def test_a_restart_costs_no_request(postgres: RestartablePostgres, connect: Connect) -> None:
    """With a pool full of dead connections the next requests all succeed, from many threads too."""
    handler = connect()
    fill(handler, 4)
    postgres.kill()
    postgres.start()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: refusal(handler), range(40))) == [""] * 40


def test_repeated_kills(postgres: RestartablePostgres, connect: Connect) -> None:
    """Requests fail only while the database is away, and work again when it is back, however often that happens."""
    handler = connect()
    for _ in range(KILLS):
        fill(handler, 1)
        postgres.kill()
        try:
            assert refusal(handler)
        finally:
            postgres.start()
        works_again(handler)


def test_while_the_database_is_away_requests_fail(postgres: RestartablePostgres, connect: Connect) -> None:
    """No request waits out its time, so that threads are left for the others; and the pool tries again and again."""
    handler = connect()
    fill(handler, 4)
    postgres.kill()
    try:
        ask_until_away(handler)
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(lambda _: refusal(handler), range(32)))
        assert all("the database can't be reached" in result for result in results)
        tried = stats(handler, "connections_errors")
        until(lambda: stats(handler, "connections_errors") >= tried + ATTEMPTS, "further attempts")
    finally:
        postgres.start()
    works_again(handler)


def ask_until_away(handler: ConnectionHandler) -> None:
    def away() -> bool:
        assert refusal(handler)
        return bool(handler[DEFAULT_DB_ALIAS].pool.away)

    until(away, "the pool to notice")


def test_an_exhausted_pool_waits_its_time(connect: Connect) -> None:
    """A pool whose connections are in use is no outage: a request waits its whole time, and says what was missing."""
    handler = connect(pool={"min_size": 1, "max_size": 1, "timeout": 1.2})
    handler[DEFAULT_DB_ALIAS].ensure_connection()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        assert "all 1 connections were in use for 1.2 s" in threads.submit(refusal, handler).result()
    assert time.monotonic() - began >= 1.2


def test_an_exhausted_pool_gives_what_comes_back(connect: Connect) -> None:
    """A request that waits gets the connection that another gives back."""
    handler = connect(pool={"min_size": 1, "max_size": 1})
    first = handler[DEFAULT_DB_ALIAS]
    first.ensure_connection()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(refusal, handler)
        until(lambda: stats(handler, "requests_waiting"), "a request that waits")
        first.close()
        assert waiting.result() == ""


def test_a_server_that_hangs_is_not_waited_for(postgres: RestartablePostgres, connect: Connect) -> None:
    """When the server is stopped, handing out a connection ends instead of hanging; later all is well."""
    handler = connect(connect_timeout=2)
    fill(handler, 4)
    with postgres.stopped():
        assert "the database can't be reached" in refusal(handler)
    works_again(handler)


def hog(url: str, stack: ExitStack) -> None:
    """Take every connection that the server gives."""
    with suppress(psycopg.OperationalError):
        while True:
            stack.enter_context(psycopg.connect(url))


def test_too_many_clients_is_an_outage(postgres: RestartablePostgres, connect: Connect) -> None:
    """When the server takes no more connections, requests fail instead of waiting, and work again once it does."""
    handler = connect(pool={"min_size": 1, "max_size": 2})
    with ExitStack() as stack:
        hog(postgres.url, stack)
        assert all("the database can't be reached" in refusal(handler) for _ in range(5))
    works_again(handler)


def test_timestamps_are_utc(connect: Connect) -> None:
    """Moments come back as Django's own loader gives them, also when a connection's time zone was changed."""
    handler = connect()
    connection = handler[DEFAULT_DB_ALIAS]
    moment = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz, NULL::timestamptz, '0001-01-01 00:00:00+00'::timestamptz", [moment])
        value, nothing, first = cursor.fetchone()
    assert value == moment
    assert value.tzinfo is UTC
    assert nothing is None
    assert first == datetime(1, 1, 1, tzinfo=UTC)
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'Asia/Kolkata'")
        cursor.execute("SELECT %s::timestamptz", [moment])
        assert cursor.fetchone()[0] == moment
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [moment])
        value = cursor.fetchone()[0]
    assert value == moment
    assert value.tzinfo is UTC


def test_a_server_side_cursor_reads_timestamps(connect: Connect) -> None:
    """Named cursors, as `iterator()` uses, have the same loader."""
    connection = connect()[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    connection.set_autocommit(False)
    try:
        with connection.chunked_cursor() as cursor:
            cursor.execute("SELECT '2026-01-01 00:00:00+00'::timestamptz")
            assert cursor.fetchone() == (datetime(2026, 1, 1, tzinfo=UTC),)
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def test_without_a_pool_it_is_djangos_backend(connect: Connect) -> None:
    """A worker or command may leave the pool out."""
    handler = connect(pool={})
    handler.settings[DEFAULT_DB_ALIAS]["OPTIONS"]["pool"] = None
    assert ask(handler) == (1,)
    assert handler[DEFAULT_DB_ALIAS].pool is None


def test_nobody_gets_the_port_while_the_server_is_away(postgres: RestartablePostgres) -> None:
    """Another run of tests that chooses a port does not choose this one, though nobody listens there now."""
    postgres.kill()
    try:
        assert not is_free(postgres.port)
    finally:
        postgres.start()


def test_refused_requests_leave_nothing_behind(postgres: RestartablePostgres, connect: Connect) -> None:
    """While the database is away, what waits in psycopg's queue does not grow with the requests."""
    handler = connect()
    fill(handler, 4)
    postgres.kill()
    try:
        ask_until_away(handler)
        before = stats(handler, "requests_waiting")
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(lambda _: refusal(handler), range(64)))
        assert stats(handler, "requests_waiting") <= before + 8, "one for each thread that met the end of a connection"
    finally:
        postgres.start()
    works_again(handler)


@pytest.mark.parametrize("carried", [True, False])
def test_threads_that_ask_the_database_give_their_connections_back(connect: Connect, carried: bool) -> None:
    """Threads of a view return them at once with ``carry()``, and without it when they have ended."""
    handler = connect(pool={"min_size": 1, "max_size": 2, "timeout": 1.0})

    def count() -> tuple[int, ...]:
        with handler[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1")
            return tuple(cursor.fetchone())

    work = carry(count) if carried else count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bandstand.context.binding.connections", handler)
        for _ in range(6):
            with ThreadPoolExecutor(2) as threads:
                assert [each.result() for each in [threads.submit(work) for _ in range(2)]] == [(1,)] * 2
            gc.collect()
        assert ask(handler) == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "SET search_path TO pg_catalog",
        "set session statement_timeout = 1234",
        "SELECT pg_advisory_lock(7)",
        "SELECT PG_TRY_ADVISORY_LOCK_SHARED(7)",
        "SELECT set_config('search_path', 'pg_catalog', false)",
        "CREATE TEMPORARY TABLE left_behind (id int)",
        "LISTEN something",
        b"SET search_path TO pg_catalog",
        SQL("SET search_path TO {}").format(Identifier("pg_catalog")),
    ],
)
def test_what_a_session_keeps_reaches_nobody_else(connect: Connect, statement: Any) -> None:
    """The next user of the pool has a session of its own."""
    connection = connect(pool={"min_size": 1, "max_size": 1})[DEFAULT_DB_ALIAS]
    first = session_after(connection, statement)
    assert session_after(connection, "SELECT 1") != first


@pytest.mark.parametrize(
    "statement",
    ["SET LOCAL search_path TO pg_catalog", "SELECT pg_advisory_xact_lock(7)", "SELECT set_config('x.y', 'z', true)"],
)
def test_what_ends_with_its_transaction_costs_no_session(connect: Connect, statement: str) -> None:
    """The connection is used again."""
    connection = connect(pool={"min_size": 1, "max_size": 1})[DEFAULT_DB_ALIAS]
    first = session_after(connection, statement)
    assert session_after(connection, "SELECT 1") == first


def session_after(connection: Any, statement: Any) -> int:
    """Execute ``statement`` on a connection of the pool, give it back, and return which session it was."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("SELECT pg_backend_pid()")
        (session,) = cursor.fetchone()
    connection.close()
    return int(session)
