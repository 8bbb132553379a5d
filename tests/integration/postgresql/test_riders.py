"""Rows that go along with what comes next: whatever commits carries them, whatever undoes takes them along."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, OperationalError, ProgrammingError, transaction

from bandstand import failpoints
from bandstand.context import bind, new_context
from bandstand.exceptions import DeadlineExceeded
from bandstand.failpoints import FailPoint
from tests.waiting import GUARD

from .conftest import Connect, begin, holding
from .server import RestartablePostgres

INTO = "INSERT INTO riding (name)"
WHAT = "The row could not be written"
REFUSED = f"{WHAT}: .*violates check constraint"


@pytest.fixture(autouse=True)
def table(postgres: RestartablePostgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS riding, change")
        admin.execute("CREATE TABLE riding (id int GENERATED ALWAYS AS IDENTITY, name text CHECK (name <> 'never'))")
        admin.execute("CREATE TABLE change (name text UNIQUE DEFERRABLE INITIALLY DEFERRED)")


def ride(connection: Any, *names: str) -> None:
    for name in names:
        assert connection.write_later(INTO, "(%s)", [name], what=WHAT)


def execute(connection: Any, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def lasting(postgres: RestartablePostgres) -> Callable[[], list[str]]:
    """Return what is committed, as another connection sees it."""

    def names() -> list[str]:
        with psycopg.connect(postgres.url) as other:
            return [row[0] for row in other.execute("SELECT name FROM riding ORDER BY id")]

    return names


@contextlib.contextmanager
def traced(connection: Any, path: Path) -> Iterator[list[str]]:
    """Fill the list with the queries that go to the server meanwhile, each with all its statements."""
    queries: list[str] = []
    begin(connection)  # so that there is a connection
    with path.open("wb") as log:
        connection.connection.pgconn.trace(log.fileno())
        yield queries
        connection.connection.pgconn.untrace()
    queries += re.findall(r'\tF\t\d+\tQuery\t "(.*)"', path.read_text())


# --- with the COMMIT ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_a_row_costs_no_round_trip(connection: Any, lasting: Any, tmp_path: Path, first: bool) -> None:
    """All rows of a transaction go in one statement with its COMMIT, with BEGIN too if nothing came before."""
    with traced(connection, tmp_path / "trace") as queries, transaction.atomic():
        if not first:
            begin(connection)
        ride(connection, "a", "O'Hara \\ $1 %s", "Größe ☃ 𝄞")
        connection.follow_commit("NOTIFY riding")
    *_, last = queries
    assert len(queries) == (1 if first else 3)  # BEGIN and SELECT before it
    assert last.startswith("BEGIN;INSERT" if first else "INSERT")
    assert last.count("INSERT") == 1
    assert last.endswith(";COMMIT;NOTIFY riding")
    assert lasting() == ["a", "O'Hara \\ $1 %s", "Größe ☃ 𝄞"]


@pytest.mark.parametrize("follower", ["", "NOTIFY riding"])
def test_a_row_that_is_refused_undoes_the_transaction(connection: Any, lasting: Any, follower: str) -> None:
    """The COMMIT behind it is not carried out, and the error says whose row it was; the connection works on."""
    with pytest.raises(IntegrityError, match=REFUSED), transaction.atomic():  # noqa: PT012
        execute(connection, "INSERT INTO change VALUES ('lost')")
        ride(connection, "fine", "never")
        connection.follow_commit(follower)
    assert lasting() == []
    assert execute(connection, "SELECT * FROM change") == []
    with transaction.atomic():
        ride(connection, "next")
    assert lasting() == ["next"]


def test_the_error_of_a_commit_is_its_own(connection: Any, lasting: Any) -> None:
    """A constraint of the application that is checked at the COMMIT is not laid to the rows that rode along."""
    with pytest.raises(IntegrityError, match=r"^duplicate key"), transaction.atomic():  # noqa: PT012
        execute(connection, "INSERT INTO change VALUES ('same'), ('same')")
        ride(connection, "a")
    assert lasting() == []


def commit_by_the_driver(connection: Any) -> None:
    connection.connection.commit()


def commit_by_statement(connection: Any) -> None:
    connection.connection.execute("COMMIT")


def commit_by_cursor(connection: Any) -> None:
    execute(connection, "COMMIT")


def leave_the_block(connection: Any) -> None:
    """What comes next is the end of the block."""


COMMITS = [commit_by_the_driver, commit_by_statement, commit_by_cursor, leave_the_block]


@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("first", [True, False])
def test_whatever_commits_carries_the_rows(
    connection: Any, lasting: Any, commit: Callable[[Any], None], first: bool
) -> None:
    """Whoever sends the COMMIT past Django, as a library might, sends the rows before it."""
    with transaction.atomic():
        if not first:
            begin(connection)
        ride(connection, "a", "b")
        commit(connection)
    assert lasting() == ["a", "b"]


@pytest.mark.parametrize("commit", COMMITS[:-1])
def test_tooth_without_the_guard_rows_are_left_behind(
    connection: Any, lasting: Any, monkeypatch: pytest.MonkeyPatch, commit: Callable[[Any], None]
) -> None:
    """When what waits does not stand in the way of others, a COMMIT past Django leaves it behind."""
    monkeypatch.setitem(failpoints._points, "riders.guard", FailPoint("off"))
    with transaction.atomic():
        begin(connection)
        ride(connection, "a")
        commit(connection)
        assert lasting() == []


@pytest.mark.parametrize("then", [leave_the_block, begin])
def test_tooth_without_the_commit_rows_are_lost(
    connection: Any, lasting: Any, monkeypatch: pytest.MonkeyPatch, then: Callable[[Any], None]
) -> None:
    """When the COMMIT does not take along what waits, the transaction lasts without its row."""
    monkeypatch.setitem(failpoints._points, "riders.sending", FailPoint("off"))
    with transaction.atomic():
        execute(connection, "INSERT INTO change VALUES ('lasts')")
        ride(connection, "a")
        then(connection)
    assert execute(connection, "SELECT name FROM change") == [("lasts",)]
    assert lasting() == []


def test_a_transaction_without_autocommit(connection: Any, lasting: Any) -> None:
    """Where the application commits by itself, its commit carries the rows, and its rollback drops them."""
    connection.set_autocommit(False)
    try:
        with transaction.atomic(savepoint=False):
            ride(connection, "a")
        connection.commit()
        with transaction.atomic():
            ride(connection, "b")
        connection.rollback()
        with transaction.atomic(savepoint=False):
            ride(connection, "c")
        with pytest.raises(ProgrammingError, match="INTRANS"):  # as with any other statement
            connection.set_autocommit(True)
        connection.rollback()
        assert lasting() == ["a"]
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def test_the_rows_of_two_databases(connect: Connect, connection: Any, lasting: Any) -> None:
    """A commit of one connection sends nothing of another."""
    other = connect()[DEFAULT_DB_ALIAS]
    with transaction.atomic():
        ride(connection, "a")
        execute(other, "INSERT INTO change VALUES ('of the other')")
        assert lasting() == []
    assert lasting() == ["a"]
    other.close()


# --- with what comes before the COMMIT -----------------------------------------------------------------


def by_cursor(connection: Any) -> int:
    return int(execute(connection, "SELECT count(*) FROM riding")[0][0])


def by_driver(connection: Any) -> int:
    return int(connection.connection.execute("SELECT count(*) FROM riding").fetchone()[0])


def by_cursor_of_the_server(connection: Any) -> int:
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT count(*) FROM riding")
        return int(cursor.fetchone()[0])


def by_stream(connection: Any) -> int:
    with connection.cursor() as cursor:
        [(count,)] = cursor.stream("SELECT count(*) FROM riding")
        return int(count)


def by_copy(connection: Any) -> int:
    with connection.cursor() as cursor, cursor.copy("COPY riding (name) TO STDOUT") as copy:
        return len(list(copy.rows()))


def by_pipeline(connection: Any) -> int:
    with connection.connection.pipeline(), psycopg.Cursor(connection.connection) as cursor:
        cursor.execute("SELECT count(*) FROM riding")
        found = cursor.fetchone()
        assert found is not None
        return int(found[0])


def by_block_of_the_driver(connection: Any) -> int:
    with connection.connection.transaction():
        return by_driver(connection)


def directly(connection: Any) -> int:
    count: int = connection.run_direct("UPDATE riding SET name = name || %s", [""])
    return count


WAYS = [
    by_cursor,
    by_driver,
    by_cursor_of_the_server,
    by_stream,
    by_copy,
    by_pipeline,
    by_block_of_the_driver,
    directly,
]


@pytest.mark.parametrize("look", WAYS)
@pytest.mark.parametrize("first", [True, False])
def test_whoever_looks_finds_the_rows(connection: Any, lasting: Any, look: Callable[[Any], int], first: bool) -> None:
    """Every way to the server in the same transaction finds what was written before it, and nothing twice."""
    with transaction.atomic():
        if not first:
            begin(connection)
        ride(connection, "a", "b")
        assert look(connection) == 2
        ride(connection, "c")
        assert look(connection) == 3
        assert lasting() == []
    assert lasting() == ["a", "b", "c"]


def test_a_row_that_is_refused_fails_what_comes_next(connection: Any, lasting: Any) -> None:
    """The error of the next statement says that it is not the statement's own."""
    with transaction.atomic():
        with pytest.raises(IntegrityError, match=REFUSED), transaction.atomic():  # noqa: PT012
            ride(connection, "never")
            begin(connection)
        ride(connection, "later")
    assert lasting() == ["later"]


def test_rows_of_other_tables_keep_their_order(connection: Any, lasting: Any) -> None:
    """A row of another table does not go before those that wait."""
    with transaction.atomic():
        ride(connection, "a")
        assert connection.write_later(
            "INSERT INTO riding (name) SELECT name || '!' FROM riding UNION ALL", "(%s)", ["b"], what="other"
        )
        ride(connection, "c")
    assert lasting() == ["a", "a!", "b", "c"]


def test_little_waits(connection: Any, lasting: Any, tmp_path: Path) -> None:
    """What waits is sent when it is more than a megabyte, so that memory has a bound."""
    with traced(connection, tmp_path / "trace") as queries, transaction.atomic():
        for _ in range(5):
            ride(connection, "x" * 400_000)
    assert len(queries) == 2
    assert [len(name) for name in lasting()] == [400_000] * 5


# --- and what undoes them --------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def test_what_is_rolled_back_is_gone(connection: Any, lasting: Any) -> None:
    """As a whole, by mark, or to a savepoint: rows before the savepoint and after it stay."""
    with pytest.raises(Interrupted), transaction.atomic():  # noqa: PT012 - the block fails as a whole
        ride(connection, "whole")
        raise Interrupted
    with transaction.atomic():
        ride(connection, "marked")
        transaction.set_rollback(True)
    with transaction.atomic():
        ride(connection, "before")
        with pytest.raises(Interrupted), transaction.atomic():  # noqa: PT012
            ride(connection, "within")
            raise Interrupted
        ride(connection, "after")
        with transaction.atomic():
            ride(connection, "kept")
    assert lasting() == ["before", "after", "kept"]


def test_a_rollback_sends_nothing(connection: Any, tmp_path: Path) -> None:
    """What is undone before it was sent is never sent, and leaves nothing behind on the connection."""
    with traced(connection, tmp_path / "trace") as queries:
        with pytest.raises(Interrupted), transaction.atomic():  # noqa: PT012 - the block fails as a whole
            ride(connection, "whole")
            raise Interrupted
        with transaction.atomic():
            begin(connection)
            with contextlib.suppress(Interrupted), transaction.atomic():
                ride(connection, "within")
                raise Interrupted
    assert not any("INSERT" in query for query in queries)
    assert "wait" not in vars(connection.connection)


def test_a_block_without_savepoint(connection: Any, lasting: Any) -> None:
    """Its failure undoes the transaction that it is a part of, and its success leaves the rows to it."""
    with transaction.atomic():
        ride(connection, "a")
        with transaction.atomic(savepoint=False):
            ride(connection, "b")
    with transaction.atomic():
        with contextlib.suppress(Interrupted), transaction.atomic(savepoint=False):
            ride(connection, "c")
            raise Interrupted
        assert not connection.write_later(INTO, "(%s)", ["d"], what=WHAT), "a cursor says that the transaction failed"
    assert lasting() == ["a", "b"]


def test_a_savepoint_of_ones_own(connection: Any, lasting: Any) -> None:
    """Savepoints by statement are the server's, so rows belong to them as well."""
    with transaction.atomic():
        ride(connection, "before")
        execute(connection, "SAVEPOINT mine")
        ride(connection, "within")
        execute(connection, "ROLLBACK TO SAVEPOINT mine")
        ride(connection, "after")
    assert lasting() == ["before", "after"]


def test_a_connection_that_is_closed_takes_them_along(connect: Connect, lasting: Any, monkeypatch: Any) -> None:
    """Nothing of a transaction lasts whose connection is closed, and the next user of a pooled one inherits nothing."""
    handler = connect(pool={"min_size": 1, "max_size": 1})
    monkeypatch.setattr("django.db.transaction.connections", handler)
    connection = handler[DEFAULT_DB_ALIAS]
    for first in (True, False):
        with contextlib.suppress(Interrupted), transaction.atomic():
            if not first:
                begin(connection)
            ride(connection, "closed")
            pooled = connection.connection
            connection.close()
            raise Interrupted
        with transaction.atomic():
            begin(connection)
            assert connection.connection is pooled
        connection.close()
    assert lasting() == []


@pytest.mark.parametrize("first", [True, False])
def test_a_connection_that_is_lost_is_told(
    postgres: RestartablePostgres, connection: Any, lasting: Any, first: bool
) -> None:
    """When the server ends the connection before the COMMIT, the COMMIT fails; nothing counts as written."""
    [(process,)] = execute(connection, "SELECT pg_backend_pid()")
    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012 - the block fails as a whole
        if not first:
            begin(connection)
        ride(connection, "lost")
        with psycopg.connect(postgres.url) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
    assert lasting() == []
    connection.close()
    with transaction.atomic():
        ride(connection, "next")
    assert lasting() == ["next"]


# --- deadlines and listeners -------------------------------------------------------------------------------


def test_the_deadline_holds(postgres: RestartablePostgres, connection: Any, lasting: Any) -> None:
    """Rows that wait for a lock wait no longer than the request does; then the transaction is undone."""
    with holding(postgres.url, "LOCK TABLE riding IN ACCESS EXCLUSIVE MODE"):
        with pytest.raises(DeadlineExceeded), bind(new_context(timeout=1)), transaction.atomic():  # noqa: PT012
            execute(connection, "INSERT INTO change VALUES ('undone')")
            ride(connection, "late")
        with pytest.raises(DeadlineExceeded), bind(new_context(timeout=1)), transaction.atomic():  # noqa: PT012
            ride(connection, "late")
            begin(connection)
    assert execute(connection, "SELECT current_setting('statement_timeout')") == [("0",)]
    assert execute(connection, "SELECT * FROM change") == []
    assert lasting() == []
    assert connection.get_autocommit()


def test_what_was_promised_in_time_is_written(connection: Any, lasting: Any) -> None:
    """When the time ends after the row was taken, it goes along as the COMMIT goes, with a limit of its own."""
    with transaction.atomic():
        with bind(new_context(timeout=GUARD)):
            begin(connection)
            ride(connection, "in time")
        with bind(new_context(timeout=0.0)):
            assert not connection.write_later(INTO, "(%s)", ["late"], what=WHAT), "a cursor says that no time is left"
            connection.savepoint()
            assert execute(connection, "SHOW statement_timeout") == [("100ms",)]
    assert lasting() == ["in time"]


def test_a_cursor_does_what_it_can_not(connection: Any, lasting: Any) -> None:
    """Where somebody listens, for a NUL, or outside a block it does nothing; what waits already is not forgotten."""
    with transaction.atomic():
        ride(connection, "before")
        with connection.execute_wrapper(lambda run, *arguments: run(*arguments)):
            assert not connection.write_later(INTO, "(%s)", ["heard"], what=WHAT)
        connection.force_debug_cursor = True
        try:
            assert not connection.write_later(INTO, "(%s)", ["logged"], what=WHAT)
            begin(connection)
        finally:
            connection.force_debug_cursor = False
        assert not connection.write_later(INTO, "(%s)", ["a\0b"], what=WHAT)
    assert not connection.write_later(INTO, "(%s)", ["outside"], what=WHAT)
    assert lasting() == ["before"]


def test_a_failed_transaction_takes_no_row(connection: Any, lasting: Any) -> None:
    """After an error in the transaction a cursor is needed, which says so."""
    with transaction.atomic():
        with pytest.raises(DatabaseError):
            execute(connection, "SELECT 1 / 0")
        assert not connection.write_later(INTO, "(%s)", ["failed"], what=WHAT)
        transaction.set_rollback(True)
    with pytest.raises(ProgrammingError, match=f"{WHAT}: relation"), transaction.atomic():
        connection.write_later("INSERT INTO nowhere (name)", "(%s)", ["a"], what=WHAT)
    assert lasting() == []
