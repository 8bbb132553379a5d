"""How a migrator waits, without a database."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError

from bandstand.exceptions import MigrationBlocked
from bandstand.migrating import MigrationGuard


class State(Exception):
    """What psycopg raises, as far as anybody looks at it."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


def blocked(sqlstate: str = "55P03") -> OperationalError:
    error = OperationalError("canceling statement due to lock timeout")
    error.__cause__ = State(sqlstate)
    return error


class Database:
    """Answers each statement by its first word after SELECT, and remembers all."""

    def __init__(self, *, locked: int = 0, unlocks: bool = True) -> None:
        self.refusals = locked
        self.unlocks = unlocks
        self.asked: list[tuple[str, Any]] = []

    def cursor(self) -> "Database":
        return self

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, statement: str, parameters: tuple[Any, ...]) -> None:
        self.asked.append((statement, parameters))

    def fetchone(self) -> list[Any]:
        statement, _ = self.asked[-1]
        if "try_advisory_lock" in statement:
            self.refusals -= 1
            return [self.refusals < 0]
        return [self.unlocks]

    def limits(self) -> list[str]:
        return [parameters[0] for statement, parameters in self.asked if parameters and "lock_timeout" in statement]


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def guard(told: list[str]) -> Callable[[Database], MigrationGuard]:
    def build(database: Database) -> MigrationGuard:
        clock = Time()
        connection: Any = database
        return MigrationGuard(
            connection, lock_timeout=3, wait=60, tell=told.append, clock=clock, sleep=clock.sleep, chance=lambda: 1.0
        )

    return build


Guard = Callable[[Database], MigrationGuard]


def test_migrations_run_between_lock_and_unlock(guard: Guard) -> None:
    """The lock is there before the first statement and gone after the last, also when one fails."""
    database = Database()
    with pytest.raises(ProgrammingError):
        guard(database).run(lambda: (_ for _ in ()).throw(ProgrammingError("broken")))
    assert "pg_try_advisory_lock" in database.asked[0][0]
    assert "pg_advisory_unlock" in database.asked[-1][0]


def test_a_held_lock_is_asked_for_again(guard: Guard, told: list[str]) -> None:
    """With pauses, told once."""
    database, calls = Database(locked=3), []
    guard(database).run(lambda: calls.append(1))
    assert calls == [1]
    assert len(told) == 1


def test_a_lock_is_not_awaited_for_ever(guard: Guard) -> None:
    """After the time that it was given the migrator says what to look for."""
    with pytest.raises(MigrationBlocked, match=r"60 seconds.*pg_locks"):
        guard(Database(locked=10_000)).run(lambda: None)


@pytest.mark.parametrize("sqlstate", ["55P03", "40P01"])
def test_a_table_in_use_is_tried_again(guard: Guard, sqlstate: str) -> None:
    """A lock time-out and a deadlock leave nothing behind in an atomic migration."""
    failures = [blocked(sqlstate), blocked(sqlstate)]
    guarded = guard(Database())

    def migrate() -> None:
        guarded.begin(atomic=True)
        if failures:
            raise failures.pop()

    guarded.run(migrate)
    assert failures == []


@pytest.mark.parametrize("error", [OperationalError("server closed the connection"), blocked("57014")])
def test_any_other_error_is_shown_at_once(guard: Guard, error: OperationalError) -> None:
    """What would not be better a second time is not tried a second time."""
    calls = []

    def migrate() -> None:
        calls.append(1)
        raise error

    with pytest.raises(OperationalError):
        guard(Database()).run(migrate)
    assert calls == [1]


def test_a_migration_that_is_not_atomic_is_tried_once(guard: Guard) -> None:
    """It has no limit for its locks, and is not repeated after a deadlock: half of it is there already."""
    database, calls = Database(), []
    guarded = guard(database)

    def migrate() -> None:
        calls.append(1)
        guarded.begin(atomic=False)
        raise blocked("40P01")

    with pytest.raises(OperationalError):
        guarded.run(migrate)
    assert calls == [1]
    assert database.limits()[0] == "0ms"


def test_the_limit_is_that_of_an_atomic_migration(guard: Guard) -> None:
    """Each migration gets its own, and what comes after the last has none."""
    database = Database()
    guarded = guard(database)
    guarded.run(lambda: guarded.begin(atomic=True))
    assert database.limits() == ["3000ms"]
    assert "'lock_timeout', '0'" in database.asked[-3][0]


def test_a_pooler_that_shares_sessions_is_noticed(guard: Guard, told: list[str]) -> None:
    """A lock that its session does not hold locked nothing, and that is said."""
    guard(Database(unlocks=False)).run(lambda: None)
    assert "PgBouncer" in told[0]
