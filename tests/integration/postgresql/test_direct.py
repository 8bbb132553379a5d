"""What every write pays goes past the cursors, and must be the same as with them."""

import logging
from collections.abc import Iterator
from threading import Event
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, transaction

from bandstand.context import bind, new_context
from bandstand.exceptions import DeadlineExceeded
from tests.waiting import GUARD

from .conftest import begin
from .server import RestartablePostgres

INSERT = "INSERT INTO direct (name) VALUES (%s)"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process begins."""
    monkeypatch.setattr("bandstand.postgresql.prepared._shared", Event())


@pytest.fixture(autouse=True)
def table(connection: Any) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE direct (name text UNIQUE DEFERRABLE INITIALLY DEFERRED, CHECK (name <> 'never'))")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE direct")


def names(connection: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM direct ORDER BY name")
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.parametrize("name", ["plain", "O'Hara \\ $1 %s", "Größe ☃ 𝄞", ""])
def test_text_arrives_as_it_is(connection: Any, name: str) -> None:
    """Nothing in a value has a meaning."""
    with transaction.atomic():
        begin(connection)
        assert connection.run_direct(INSERT, [name]) == 1
    assert names(connection) == [name]


def test_it_is_prepared_once_in_a_session(connection: Any) -> None:
    """With ``prepare`` the values arrive as they are, and the plan outlives a transaction that is undone."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
        assert connection.run_direct(INSERT, ["undone"], prepare=True) == 1
        raise ZeroDivisionError
    with transaction.atomic():
        for name in ("plain", "O'Hara \\ $1 %s", "Größe ☃ 𝄞", ""):
            assert connection.run_direct(INSERT, [name], prepare=True) == 1
        assert prepared(connection) == 1
    assert set(names(connection)) == {"plain", "O'Hara \\ $1 %s", "Größe ☃ 𝄞", ""}


def test_what_was_prepared_may_be_gone(connection: Any, caplog: pytest.LogCaptureFixture) -> None:
    """When the session knows nothing of it, as one that is shared, one statement fails and later ones are plain."""
    with transaction.atomic():
        connection.run_direct(INSERT, ["a"], prepare=True)
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")
        with pytest.raises(OperationalError, match="does not exist"), transaction.atomic():
            connection.run_direct(INSERT, ["b"], prepare=True)
        assert connection.run_direct(INSERT, ["c"], prepare=True) == 1
        assert prepared(connection) == 0
    assert names(connection) == ["a", "c"]
    assert caplog.text.count("sessions are shared") == 1


def test_what_others_prepared_may_be_there(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another client of the session has prepared the same, it is no different."""
    with transaction.atomic():
        connection.run_direct(INSERT, ["a"], prepare=True)
        monkeypatch.setattr("bandstand.postgresql.prepared._names", WeakKeyDictionary())  # as another process
        with pytest.raises(OperationalError, match="already exists"), transaction.atomic():
            connection.run_direct(INSERT, ["b"], prepare=True)
        assert connection.run_direct(INSERT, ["c"], prepare=True) == 1
    assert names(connection) == ["a", "c"]


def test_what_could_not_be_prepared_is_prepared_later(connection: Any) -> None:
    """A statement that failed where it was to be prepared can be run by the same session when its cause is gone."""
    insert = "INSERT INTO later (name) VALUES (%s)"
    with transaction.atomic():
        with pytest.raises(ProgrammingError, match="later"), transaction.atomic():
            connection.run_direct(insert, ["a"], prepare=True)
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE later (name text)")
        assert connection.run_direct(insert, ["a"], prepare=True) == 1
        transaction.set_rollback(True)


def prepared(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        return int(cursor.fetchone()[0])


def test_it_belongs_to_the_transaction(connection: Any) -> None:
    """What is rolled back, as a whole or to a savepoint, is gone."""
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 - the block fails as a whole
        begin(connection)
        assert connection.run_direct(INSERT, ["whole"])
        raise RuntimeError
    with transaction.atomic():
        begin(connection)
        assert connection.run_direct(INSERT, ["kept"])
        with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 - the block fails as a whole
            assert connection.run_direct(INSERT, ["part"])
            raise RuntimeError
    assert names(connection) == ["kept"]


def test_it_begins_the_transaction(connection: Any) -> None:
    """When it comes first, as the inbox row does, BEGIN goes along; the rest of the transaction goes on as ever."""
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 - the block fails as a whole
        assert connection.run_direct(INSERT, ["first"]) == 1
        assert names(connection) == ["first"]
        raise RuntimeError
    assert names(connection) == []
    with transaction.atomic():
        assert connection.run_direct(INSERT, ["first"]) == 1
    assert connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert names(connection) == ["first"]


def test_it_counts_rows(connection: Any) -> None:
    """As a cursor's ``rowcount`` does."""
    with transaction.atomic():
        assert connection.run_direct(INSERT, ["a"]) == 1
        assert connection.run_direct("INSERT INTO direct SELECT %s WHERE false", ["b"]) == 0


def test_a_cursor_does_what_it_can_not(connection: Any) -> None:
    """Outside a block, with somebody who listens, and for a NUL, it says so and does nothing."""
    with transaction.atomic():
        with connection.execute_wrapper(lambda execute, *arguments: execute(*arguments)):
            assert connection.run_direct(INSERT, ["somebody listens"]) is None
        connection.force_debug_cursor = True
        assert connection.run_direct(INSERT, ["somebody listens"]) is None
        connection.force_debug_cursor = False
        assert connection.run_direct(INSERT, ["a\0b"]) is None
    assert connection.run_direct(INSERT, ["outside"]) is None
    assert names(connection) == []


def test_errors_are_djangos(connection: Any) -> None:
    """A refused statement is the same error as with a cursor, and the connection can be used afterwards."""
    with pytest.raises(IntegrityError, match="violates check constraint"), transaction.atomic():  # noqa: PT012
        begin(connection)
        connection.run_direct(INSERT, ["never"])
    assert names(connection) == []


def test_the_deadline_holds(connection: Any) -> None:
    """It gets the time that is left as its limit; without any left, or under a limit that must go, a cursor is used."""
    sleep = "SELECT pg_sleep(%s::text::float)"
    with pytest.raises(DeadlineExceeded), bind(new_context(timeout=1)), transaction.atomic():
        connection.run_direct(sleep, [str(GUARD)])
    with bind(new_context(timeout=0.0)), transaction.atomic():
        assert connection.run_direct(INSERT, ["late"]) is None
    with transaction.atomic():
        with bind(new_context(timeout=GUARD)):
            begin(connection)
        assert connection.run_direct(INSERT, ["with the limit of another"]) is None
    assert names(connection) == []


@pytest.fixture
def listener(postgres: RestartablePostgres) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        host="127.0.0.1", port=postgres.port, user="postgres", password=postgres.password, autocommit=True
    ) as listener:
        listener.execute("LISTEN direct")
        yield listener


def heard(listener: psycopg.Connection[Any]) -> list[str]:
    """What was notified up to now: a notification of our own ends the waiting."""
    listener.execute("NOTIFY direct, 'end'")
    found: list[str] = []
    for notification in listener.notifies(timeout=GUARD):
        if notification.payload == "end":
            break
        found.append(notification.payload)
    return found


def test_a_commit_has_a_follower(connection: Any, listener: psycopg.Connection[Any]) -> None:
    """It runs once after the commit that it was asked for, and not after a rollback or a later commit."""
    with transaction.atomic():
        begin(connection)
        connection.run_direct(INSERT, ["a"])
        connection.follow_commit("NOTIFY direct, 'first'")
        connection.follow_commit("NOTIFY direct, 'first'")
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012 - the block fails as a whole
        begin(connection)
        connection.follow_commit("NOTIFY direct, 'rolled back'")
        raise RuntimeError
    with transaction.atomic():
        begin(connection)
    assert heard(listener) == ["first"]
    assert names(connection) == ["a"]


def test_a_follower_that_fails_fails_no_commit(connection: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is committed is committed: the client must not be told otherwise."""
    with caplog.at_level(logging.WARNING), transaction.atomic():
        begin(connection)
        connection.run_direct(INSERT, ["a"])
        connection.follow_commit("SELECT 1 / 0")
    assert names(connection) == ["a"]
    assert "What should follow a commit failed" in caplog.text


def test_a_commit_that_fails_has_no_follower(connection: Any, listener: psycopg.Connection[Any]) -> None:
    """A constraint that is checked at the commit raises, and nobody is notified."""
    with pytest.raises(IntegrityError, match="duplicate key"), transaction.atomic():  # noqa: PT012
        begin(connection)
        connection.run_direct(INSERT, ["a"])
        connection.run_direct(INSERT, ["a"])
        connection.follow_commit("NOTIFY direct, 'ghost'")
    assert heard(listener) == []
    assert names(connection) == []
