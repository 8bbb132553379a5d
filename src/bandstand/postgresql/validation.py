"""System checks of a database: ``manage.py check --database ALIAS``, and ``migrate``."""

from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.db import Error as DatabaseError
from django.db.backends.base.validation import BaseDatabaseValidation

from bandstand.postgresql.sessions import is_own_session

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
            self.connection.ensure_connection()
            own = is_own_session(self.connection.connection)
        except DatabaseError:
            return found
        return found if own else [*found, _role_of_others(self.connection.alias)]


def _role_of_others(alias: str) -> CheckMessage:
    return Error(
        f"DATABASES[{alias!r}] has the option assume_role, and a pooler such as PgBouncer stands before PostgreSQL. "
        "The role belongs to the session: one that is shared by transaction gives it to other clients, and theirs to "
        "this one.",
        hint="Let PostgreSQL set it at the login (ALTER ROLE login SET role = …) and leave the option out; or, if the "
        "pooler gives each client a session of its own, silence this check.",
        id="bandstand.postgresql.E001",
    )
