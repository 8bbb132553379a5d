"""The checks that every service has: its database answers, its migrations are applied."""

from typing import Final

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

__all__ = ["UnappliedMigrations", "check_database", "check_migrations"]

_applied: Final[set[str]] = set()


class UnappliedMigrations(Exception):
    """The database is older than the code."""


def check_database() -> None:
    """Ask the default database for a row, on a connection that is given back at once. No database is no fault.

    Raises:
        django.db.Error: it does not answer.
    """
    if _has_none():
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    finally:
        connection.close()


def check_migrations() -> None:
    """Compare the migrations of the code with those of the database. Once they are all applied, never again.

    Raises:
        UnappliedMigrations: with the names of the first of them.
    """
    if connection.alias in _applied or _has_none():
        return
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    finally:
        connection.close()
    if plan:
        names = ", ".join(str(migration) for migration, _ in plan[:3]) + (", …" if len(plan) > 3 else "")
        raise UnappliedMigrations(f"{len(plan)} not applied ({names}). Run manage.py migrate.")
    _applied.add(connection.alias)


def _has_none() -> bool:
    return bool(connection.settings_dict["ENGINE"] == "django.db.backends.dummy")
