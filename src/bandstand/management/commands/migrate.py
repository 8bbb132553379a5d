"""``manage.py migrate``: Django's own, which may run in many places at once and under load."""

from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from bandstand.exceptions import MigrationBlocked
from bandstand.migrating import MigrationGuard
from bandstand.postgresql import PoolMode, connect_outside_pool, pool_mode

__all__ = ["Command"]

_LOCK_TIMEOUT: Final = 3.0
_WAIT: Final = 600.0
_POOLED: Final = (
    "A pooler such as PgBouncer stands before PostgreSQL and shares sessions by transaction (pool_mode = transaction). "
    "It keeps no lock for a migration and hands its time limits on to others, so nothing was migrated. Migrate with a "
    "DATABASE_URL that leads to PostgreSQL itself, or to a pool with pool_mode = session."
)


class Command(migrate.Command):
    """On PostgreSQL one at a time migrates; where nothing is to be applied no lock is taken."""

    _guard: MigrationGuard | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare how long to wait."""
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=_LOCK_TIMEOUT,
            metavar="SECONDS",
            help="How long a migration waits for a table before it is rolled back and tried again (default: 3).",
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=_WAIT,
            metavar="SECONDS",
            help="How long to try, while somebody else migrates or holds a table (default: 600).",
        )
        parser.add_argument(
            "--pooled-by-session",
            action="store_true",
            help="Don't look whether a pooler shares sessions: each client has its own (pool_mode = session).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, alone if there is something to do.

        Raises:
            CommandError: somebody else migrated, or held a table, for too long; or a pooler may share the session.
        """
        connection = connections[options["database"]]
        if connection.vendor != "postgresql" or options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        if _is_up_to_date(connection, options):
            # Who migrated last may have been killed before it wrote permissions, and then several write them now.
            with suppress(DatabaseError):
                super().handle(*args, **options)
                return
            connection.close()
        self._migrate_alone(connection, *args, **options)

    def _migrate_alone(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        if not options["pooled_by_session"] and _shares_sessions(connection):
            raise CommandError(_POOLED)
        waits = {name: options[name] for name in ("lock_timeout", "wait")}
        self._guard = MigrationGuard(connection, **waits, tell=self.stderr.write)
        try:
            self._guard.run(partial(super().handle, *args, **options))
        except MigrationBlocked as error:
            raise CommandError(str(error)) from error
        finally:
            self._guard = None

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        """Tell of the progress, and limit what comes next."""
        if self._guard and action in {"apply_start", "unapply_start"}:
            self._guard.begin(atomic=migration.atomic)
        super().migration_progress_callback(action, migration, fake)


def _shares_sessions(connection: BaseDatabaseWrapper) -> bool:
    connection.close()  # a pool by session may have few
    return pool_mode(partial(connect_outside_pool, connection)) is PoolMode.TRANSACTION


def _is_up_to_date(connection: BaseDatabaseWrapper, options: dict[str, Any]) -> bool:
    """Whether every migration is applied, and nothing was asked for that is more than that."""
    if options["app_label"] or options["fake"] or options["fake_initial"] or options["run_syncdb"] or options["prune"]:
        return False
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
