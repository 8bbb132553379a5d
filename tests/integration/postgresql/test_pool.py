import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError

from bandstand.workspace.runtime.ports import is_free
from tests.processor import own_time

from .conftest import Connect, ask, fill
from .server import RestartablePostgres

pytestmark = pytest.mark.integration


def timed(work: Callable[[], Any]) -> tuple[float, BaseException | None]:
    """Return how long it took, in seconds of this thread's own, and its error."""
    began = own_time()
    try:
        work()
    except OperationalError as error:
        return own_time() - began, error
    return own_time() - began, None


def test_a_restart_costs_no_request(postgres: RestartablePostgres, connect: Connect) -> None:
    """With a pool full of dead connections the next requests all succeed, at once."""
    handler = connect()
    fill(handler, 4)
    postgres.kill()
    postgres.start()
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: timed(lambda: ask(handler)), range(40)))
    assert [error for _, error in results if error] == []
    assert max(seconds for seconds, _ in results) < 0.5


def test_tooth_without_healing_the_same_restart_fails(postgres: RestartablePostgres, connect: Connect) -> None:
    """Django's own pool waits out its whole time on the dead connections and fails."""
    handler = connect("django.db.backends.postgresql", pool={"timeout": 2})
    fill(handler, 4)
    postgres.kill()
    postgres.start()
    seconds, error = timed(lambda: ask(handler))
    assert error is not None or seconds > 1.0


def test_repeated_kills(postgres: RestartablePostgres, connect: Connect) -> None:
    """Eight kills in a row: requests fail only while the database is away, and work within a second of its return."""
    handler = connect()
    for _ in range(8):
        fill(handler, 1)
        postgres.kill()
        seconds, error = timed(lambda: ask(handler))
        assert error is not None
        assert seconds < 2.0
        postgres.start()
        deadline = time.monotonic() + 1.5
        while timed(lambda: ask(handler))[1] is not None:
            assert time.monotonic() < deadline, "The pool did not come back"


def test_while_the_database_is_away_requests_fail_fast(postgres: RestartablePostgres, connect: Connect) -> None:
    """After the first second no request waits, so that threads are left for the others; the return is noticed soon."""
    handler = connect()
    fill(handler, 4)
    postgres.kill()
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            timed(lambda: ask(handler))
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(lambda _: timed(lambda: ask(handler)), range(32)))
        assert all(error is not None for _, error in results)
        assert max(seconds for seconds, _ in results) < 0.5
        time.sleep(4)  # long enough for the doubling pauses of psycopg's own pool to pass any second
    finally:
        postgres.start()
    time.sleep(1)
    assert timed(lambda: ask(handler))[1] is None


def test_an_exhausted_pool_waits_its_time(connect: Connect) -> None:
    """A pool whose connections are in use is no outage: a request waits for one, and says what was missing."""
    handler = connect(pool={"min_size": 1, "max_size": 1, "timeout": 2.4})
    first = handler[DEFAULT_DB_ALIAS]
    first.ensure_connection()
    with ThreadPoolExecutor(1) as threads:
        seconds, error = threads.submit(lambda: timed(lambda: ask(handler))).result()
        assert "all 1 connections were in use" in str(error)
        assert 1.8 < seconds < 3.2
        waiting = threads.submit(lambda: timed(lambda: ask(handler)))
        time.sleep(0.7)
        first.close()
        assert waiting.result()[1] is None


def test_a_server_that_hangs_is_not_waited_for(postgres: RestartablePostgres, connect: Connect) -> None:
    """When the server is stopped, handing out a connection ends in time instead of hanging; later all is well."""
    handler = connect(pool={"timeout": 3})
    fill(handler, 4)
    with postgres.stopped():
        seconds, error = timed(lambda: ask(handler))
    assert error is not None
    assert seconds < 6
    deadline = time.monotonic() + 5
    while timed(lambda: ask(handler))[1] is not None:
        assert time.monotonic() < deadline


def hog(url: str, stack: ExitStack) -> None:
    """Take every connection that the server gives."""
    with suppress(psycopg.OperationalError):
        while True:
            stack.enter_context(psycopg.connect(url))


def test_too_many_clients_is_told_at_once(postgres: RestartablePostgres, connect: Connect) -> None:
    """When the server takes no more connections, requests fail within a second, and work again once it does."""
    handler = connect(pool={"min_size": 1, "max_size": 2})
    with ExitStack() as stack:
        hog(postgres.url, stack)
        fails = [timed(lambda: ask(handler)) for _ in range(5)]
    assert all(error is not None for _, error in fails)
    assert max(seconds for seconds, _ in fails) < 1.2
    deadline = time.monotonic() + 2
    while timed(lambda: ask(handler))[1] is not None:
        assert time.monotonic() < deadline


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
