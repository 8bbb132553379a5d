from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoAssertNumQueries

import bandstand.health
from bandstand.health import database, registry


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    database._applied.clear()
    yield
    database._applied.clear()


@pytest.mark.django_db
def test_the_database_is_asked_one_question(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """A row is asked for, nothing else."""
    with django_assert_num_queries(1):
        database.check_database()


@pytest.mark.django_db
def test_a_database_that_does_not_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's error is the check's error."""

    def refuse() -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(connection, "cursor", refuse)
    with pytest.raises(DatabaseError):
        database.check_database()


@pytest.mark.django_db
def test_migrations_that_are_applied_are_asked_for_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """They are not taken back while the process runs, so the first yes is kept for ever."""
    database.check_migrations()
    with django_assert_num_queries(0):
        database.check_migrations()


@pytest.mark.django_db
def test_migrations_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names what is missing and what to do, and a no is not kept."""
    plan = [("auth.0001_initial", False), ("auth.0002_more", False)]
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: plan)
    with pytest.raises(database.UnappliedMigrations, match=r"2 not applied \(auth.0001_initial, auth.0002_more\)"):
        database.check_migrations()
    monkeypatch.undo()
    database.check_migrations()


def test_a_service_without_a_database_has_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """No database configured is no fault."""
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "django.db.backends.dummy")
    database.check_database()
    database.check_migrations()


def test_both_checks_are_there_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing the room registers the database and its migrations as needs."""
    import importlib

    importlib.reload(bandstand.health)
    assert [(check.name, check.ready) for check in registry.registered()] == [("database", True), ("migrations", True)]
