"""System checks of a database: ``manage.py check --database ALIAS``, and ``migrate``."""

from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.core.checks import CheckMessage, Error
from django.db.backends.base.validation import BaseDatabaseValidation

from bandstand.postgresql.sessions import PoolMode, connect_outside_pool, pool_mode

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Validation"]


class Validation(BaseDatabaseValidation):
    """Check the database settings for options that shared sessions can't keep."""

    if TYPE_CHECKING:
        connection: BaseDatabaseWrapper

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Return the faults; none when the database is away, which others say."""
        found = super().check(**kwargs)
        if not self.connection.settings_dict["OPTIONS"].get("assume_role"):
            return found
        try:
            mode = pool_mode(partial(connect_outside_pool, self.connection))
        except psycopg.Error:
            return found
        return [*found, _role_of_others(self.connection.alias)] if mode is PoolMode.TRANSACTION else found


def _role_of_others(alias: str) -> CheckMessage:
    return Error(
        f"DATABASES[{alias!r}] has the option assume_role, and a pooler such as PgBouncer stands before PostgreSQL. "
        "It shares sessions by transaction (pool_mode = transaction), and the role belongs to the session: other "
        "clients get it, and this one gets theirs.",
        hint="Let PostgreSQL set it at the login (ALTER ROLE login SET role = …) and leave the option out.",
        id="bandstand.postgresql.E001",
    )
