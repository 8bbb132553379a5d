from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, IntegrityError, OperationalError, transaction
from django.db.utils import ConnectionHandler

from bandstand.context import bind, current, new_context
from bandstand.exceptions import DeadlineExceeded
from tests.waiting import GUARD

from .conftest import Connect, holding
from .server import RestartablePostgres

pytestmark = pytest.mark.integration

DJANGO = "django.db.backends.postgresql"
SHORT = 1.0  # seconds
LONG = GUARD


@contextmanager
def within(seconds: float) -> Iterator[None]:
    with bind(new_context(timeout=seconds)):
        yield


@pytest.fixture
def connection(connect: Connect) -> Any:
    """One that is open, so that no deadline has to last for that."""
    connection = one(connect())
    connection.ensure_connection()
    return connection


@pytest.fixture
def by_the_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives up much later, so that the server's own limit is what ends a statement."""
    monkeypatch.setattr("bandstand.postgresql.waiting._GRACE", LONG)


@pytest.fixture
def plain(connect: Connect) -> Any:
    """The same through Django's own backend: what happens without the protection."""
    return one(connect(DJANGO))


def one(handler: ConnectionHandler) -> Any:
    return handler[DEFAULT_DB_ALIAS]


def execute(connection: Any, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def block(connection: Any) -> Iterator[None]:
    """A transaction on a connection that Django's global handler does not know."""
    atomic = transaction.Atomic(using=None, savepoint=True, durable=False)
    original = transaction.get_connection
    transaction.get_connection = lambda using=None: connection
    try:
        with atomic:
            yield
    finally:
        transaction.get_connection = original


@pytest.fixture(autouse=True)
def table(postgres: RestartablePostgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("DROP TABLE IF EXISTS parts, things")
        admin.execute("CREATE TABLE things (id int PRIMARY KEY, name text)")
        admin.execute("INSERT INTO things VALUES (1, 'lamp'), (2, 'pen')")


def working(postgres: RestartablePostgres) -> int:
    """How many statements the server works on, but for this one."""
    with psycopg.connect(postgres.url) as admin:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%'"
        found = admin.execute(sql + " AND pid <> pg_backend_pid()").fetchone()
        assert found is not None
        return int(found[0])


@pytest.mark.usefixtures("by_the_server_alone")
@pytest.mark.parametrize("in_block", [False, True])
def test_a_statement_ends_with_the_deadline(postgres: RestartablePostgres, connection: Any, in_block: bool) -> None:
    """A slow statement is given up by the server when the time is over, and the error is DeadlineExceeded."""
    surrounding = block(connection) if in_block else nullcontext()
    with pytest.raises(DeadlineExceeded, match="database worked"), within(SHORT), surrounding:
        execute(connection, "SELECT pg_sleep(%s)", [LONG])
    assert working(postgres) == 0


@pytest.mark.parametrize("in_block", [False, True])
def test_a_server_that_hangs_is_given_up(postgres: RestartablePostgres, connection: Any, in_block: bool) -> None:
    """One that is stopped keeps no limit, so whoever waits does; what it was told in a transaction is not committed."""
    surrounding = block(connection) if in_block else nullcontext()
    with postgres.stopped(), pytest.raises(DeadlineExceeded), within(SHORT), surrounding:
        execute(connection, "UPDATE things SET name = 'ours' WHERE id = %s", [1])
    connection.close()
    if in_block:
        assert execute(connection, "SELECT name FROM things WHERE id = 1") == [("lamp",)]


def test_tooth_without_it_the_statement_goes_on(plain: Any) -> None:
    """Through Django's own backend the statement takes its time, whatever the deadline."""
    with within(0.05):
        execute(plain, "SELECT pg_sleep(0.2)")
        assert current().expired()


LAMP = "UPDATE things SET name = 'held' WHERE id = 1"


@pytest.mark.usefixtures("by_the_server_alone")
def test_a_wait_for_a_lock_ends_with_the_deadline(postgres: RestartablePostgres, connection: Any) -> None:
    """Whoever waits for a row that another transaction holds stops waiting when the time is over."""
    with holding(postgres.url, LAMP):
        with pytest.raises(DeadlineExceeded), within(SHORT):
            execute(connection, "UPDATE things SET name = 'ours' WHERE id = 1")
        with pytest.raises(DeadlineExceeded), within(SHORT), block(connection):
            execute(connection, "SELECT * FROM things WHERE id = %s FOR UPDATE", [1])
        with pytest.raises(DeadlineExceeded), within(SHORT), block(connection):
            execute(connection, "LOCK TABLE things")


def test_tooth_without_it_a_lock_is_waited_for(postgres: RestartablePostgres, connect: Connect) -> None:
    """Through Django's own backend only the database's own limit ends the wait."""
    plain = one(connect(DJANGO, options="-c lock_timeout=600ms"))
    with (
        holding(postgres.url, LAMP),
        pytest.raises(OperationalError, match="lock timeout"),
        within(0.05),
    ):
        execute(plain, "UPDATE things SET name = 'ours' WHERE id = 1")


CHILD = "CREATE TABLE parts (thing int REFERENCES things DEFERRABLE INITIALLY DEFERRED)"


@pytest.mark.usefixtures("by_the_server_alone")
def test_a_wait_in_the_commit_ends_with_the_deadline(postgres: RestartablePostgres, connection: Any) -> None:
    """A foreign key is checked at the end, and waits there for a row that another holds: no longer than the request."""
    execute(connection, CHILD)
    with holding(postgres.url, "SELECT * FROM things WHERE id = 1 FOR UPDATE"):
        with pytest.raises(DeadlineExceeded), within(SHORT), block(connection):
            execute(connection, "INSERT INTO parts VALUES (1)")
        with within(LONG), block(connection):
            execute(connection, "INSERT INTO parts VALUES (2)")
    with pytest.raises(IntegrityError, match=r"^insert or update"), within(LONG), block(connection):
        execute(connection, "INSERT INTO parts VALUES (3)")
    assert connection.get_autocommit()
    assert execute(connection, "SELECT thing FROM parts") == [(2,)]


def test_tooth_without_it_the_commit_waits(postgres: RestartablePostgres, connect: Connect) -> None:
    """Through Django's own backend only the database's own limit ends the wait of the COMMIT."""
    plain = one(connect(DJANGO, options="-c lock_timeout=600ms"))
    execute(plain, CHILD)
    with (
        holding(postgres.url, "SELECT * FROM things WHERE id = 1 FOR UPDATE"),
        pytest.raises(OperationalError, match="lock timeout"),
        within(0.05),
        block(plain),
    ):
        execute(plain, "INSERT INTO parts VALUES (1)")


def test_the_time_is_that_of_all_statements(connection: Any) -> None:
    """In one transaction each statement has what the ones before it left, and not the whole time again."""
    with within(32), block(connection):
        first = limit(connection)
        execute(connection, "SELECT pg_sleep(0.6)")  # more than the 64th that makes no difference
        assert limit(connection) <= first - 599


def limit(connection: Any) -> int:
    """The milliseconds that the statement has; 0 if no end."""
    return int(execute(connection, "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")[0][0])


def test_a_limit_that_is_nearly_right_is_left(connection: Any) -> None:
    """Within a transaction it is told again once a 64th of the time that is left has gone, or when there is more."""
    with block(connection):
        with within(30_000):
            first = limit(connection)
        with within(29_600):
            assert limit(connection) == first
        with within(29_400):
            second = limit(connection)
            assert second < first
        with within(30_000):
            assert limit(connection) > second


def test_a_limit_that_is_undone_is_told_again(connection: Any) -> None:
    """A savepoint that is rolled back takes the limit along, and each transaction has its own."""
    with within(LONG):
        for _ in range(2):
            with block(connection):
                with pytest.raises(ZeroDivisionError), block(connection):  # noqa: PT012
                    assert limit(connection) > 0
                    raise ZeroDivisionError
                assert limit(connection) > 0
                execute(connection, "SET LOCAL statement_timeout = 0")
                assert limit(connection) > 0
        assert limit(connection) > 0


def test_nothing_is_begun_when_the_time_is_over(connection: Any) -> None:
    """After the deadline no statement is sent, and what was done in the transaction is undone."""
    execute(connection, "SELECT 1")  # so that a connection is there already
    with pytest.raises(DeadlineExceeded, match="was not asked"), within(0):
        execute(connection, "INSERT INTO things VALUES (3, 'cup')")

    with pytest.raises(DeadlineExceeded, match="was not asked"), within(LONG), block(connection):  # noqa: PT012
        execute(connection, "INSERT INTO things VALUES (4, 'cap')")
        with within(0):
            execute(connection, "INSERT INTO things VALUES (5, 'cop')")
    assert execute(connection, "SELECT count(*) FROM things") == [(2,)]


def test_tooth_without_it_the_work_is_done(plain: Any) -> None:
    """Through Django's own backend the row is written that nobody waits for."""
    with within(0):
        execute(plain, "INSERT INTO things VALUES (3, 'cup')")
    assert execute(plain, "SELECT count(*) FROM things") == [(3,)]


@pytest.mark.usefixtures("by_the_server_alone")
def test_a_pooled_connection_keeps_no_limit(connect: Connect) -> None:
    """The next user of the connection has no limit, however the one before it ended."""
    connection = one(connect(pool={"min_size": 1, "max_size": 1}))
    backends = set()

    def check() -> None:
        connection.close()
        rows = execute(connection, "SELECT current_setting('statement_timeout'), pg_backend_pid()")
        assert rows[0][0] == "0"
        backends.add(rows[0][1])
        connection.close()

    with within(LONG):
        assert execute(connection, "SELECT current_setting('statement_timeout')") != [("0",)]
    check()
    with within(LONG), block(connection):
        execute(connection, "INSERT INTO things VALUES (6, 'hat')")
    check()
    with pytest.raises(DatabaseError), within(LONG), block(connection):
        execute(connection, "SELECT 1 / 0")
    check()
    with pytest.raises(DeadlineExceeded), within(SHORT), block(connection):
        execute(connection, "SELECT pg_sleep(%s)", [LONG])
    check()
    with pytest.raises(DeadlineExceeded), within(SHORT):
        execute(connection, "SELECT pg_sleep(%s)", [LONG])
    check()
    assert len(backends) == 1


def test_statements_give_what_they_give_without_a_deadline(connection: Any) -> None:
    """Rows, counts, parameters and errors are the same, whatever goes along in the message."""
    with within(LONG):
        assert execute(connection, "SELECT name FROM things WHERE id = %s", [1]) == [("lamp",)]
        assert execute(connection, "SELECT name FROM things WHERE id = %(id)s", {"id": 2}) == [("pen",)]
        assert execute(connection, "SELECT '5%'") == [("5%",)]
        assert execute(connection, "(SELECT 1) UNION (SELECT 2) ORDER BY 1") == [(1,), (2,)]
        assert execute(connection, "\n  with x as (select 7 as y) select y from x") == [(7,)]
        assert execute(connection, "INSERT INTO things VALUES (%s, %s) RETURNING id", [7, "x"]) == [(7,)]
        with connection.cursor() as cursor:
            cursor.execute("UPDATE things SET name = name || '!' WHERE id > %s", [1])
            assert cursor.rowcount == 2
            cursor.executemany("INSERT INTO things VALUES (%s, %s)", [(8, "a"), (9, "b")])
        assert execute(connection, "SELECT count(*) FROM things") == [(5,)]
        with pytest.raises(OperationalError) as refused:
            execute(connection, "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(1)")
        assert not isinstance(refused.value, DeadlineExceeded)  # somebody else canceled it


@pytest.mark.parametrize("in_block", [False, True])
def test_statements_that_stand_alone(connection: Any, in_block: bool) -> None:
    """Savepoints work after the deadline too, and what must stand alone is left alone."""
    with within(LONG):
        if in_block:
            with block(connection):
                execute(connection, "SELECT 1")
                sid = connection.savepoint()
                with bind(new_context(timeout=0)):
                    connection.savepoint_rollback(sid)
                    connection.savepoint_commit(connection.savepoint())
        else:
            execute(connection, "VACUUM things")
            execute(connection, "CREATE INDEX CONCURRENTLY by_name ON things (name)")


@pytest.mark.usefixtures("by_the_server_alone")
def test_cursors_of_the_server(connection: Any) -> None:
    """Rows that are read in chunks arrive whole, and in a transaction each chunk is bounded too."""
    with within(LONG):
        with connection.chunked_cursor() as cursor:
            cursor.execute("SELECT generate_series(1, %s)", [500])
            assert len(cursor.fetchall()) == 500
        with block(connection), connection.chunked_cursor() as cursor:
            cursor.execute("SELECT generate_series(1, %s)", [500])
            assert len(cursor.fetchall()) == 500
    with within(SHORT), block(connection), connection.chunked_cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [LONG])
        with pytest.raises(OperationalError, match="statement timeout"):
            cursor.fetchall()


def test_a_deadline_that_is_taken_away(connection: Any) -> None:
    """What goes on in the same transaction without a deadline has no limit any more."""
    with block(connection):
        with within(LONG):
            assert execute(connection, "SELECT current_setting('statement_timeout')") != [("0",)]
        assert execute(connection, "SELECT current_setting('statement_timeout')") == [("0",)]


def test_a_limit_ends_with_its_transaction(connection: Any) -> None:
    """What an earlier transaction had as its limit is no limit of the next one, which begins without a deadline."""
    deadline = new_context(timeout=600)
    with block(connection), bind(deadline):
        execute(connection, "INSERT INTO things VALUES (10, 'hat')")
    with block(connection):
        assert execute(connection, "SELECT current_setting('statement_timeout')") == [("0",)]
        with bind(deadline):
            assert execute(connection, "SELECT current_setting('statement_timeout')") != [("0",)]


def test_no_further_message(connection: Any, tmp_path: Path) -> None:
    """A deadline costs no round trip: as many messages go to the server with it as without."""

    def messages(name: str) -> int:
        execute(connection, "SELECT 1")
        path = tmp_path / name
        with path.open("wb") as log:
            connection.connection.pgconn.trace(log.fileno())
            execute(connection, "SELECT name FROM things WHERE id = %s", [1])
            with block(connection):
                execute(connection, "UPDATE things SET name = 'x' WHERE id = %s", [1])
            connection.connection.pgconn.untrace()
        return path.read_text().count("\tQuery\t")

    without = messages("without")
    with within(LONG):
        assert messages("with") == without == 4  # SELECT, BEGIN, UPDATE, COMMIT


def test_a_wait_for_a_connection_ends_with_the_deadline(connect: Connect) -> None:
    """With all connections in use a request waits for as long as its caller does, and not the pool's time."""
    handler = connect(pool={"min_size": 1, "max_size": 1, "timeout": LONG})
    pool = one(handler).pool
    pool.open()
    held = pool.getconn()
    try:
        with pytest.raises(DeadlineExceeded, match="in use"), within(SHORT):
            execute(one(handler), "SELECT 1")
        with pytest.raises(DeadlineExceeded, match="no database connection"), within(0):
            execute(one(handler), "SELECT 1")
    finally:
        pool.putconn(held)
