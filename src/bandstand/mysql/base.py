"""The backend. Django asks for a class of this name in a module of this name."""

from importlib.util import find_spec
from typing import Any, Final

if find_spec("MySQLdb") is None:
    import pymysql

    pymysql.install_as_MySQLdb()

from django.db.backends.mysql import base

__all__ = ["DatabaseWrapper"]

_CONNECT: Final = 3  # seconds
_UTC: Final = "SET time_zone = '+00:00'"


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's ``DatabaseWrapper`` in UTC."""

    def get_connection_params(self) -> dict[str, Any]:
        """Return the arguments for a new connection."""
        return {"connect_timeout": _CONNECT, **super().get_connection_params()}

    def init_connection_state(self) -> None:
        """Speak UTC: Django stores times in UTC, and compares them with the clock of the session."""
        super().init_connection_state()
        with self.cursor() as cursor:
            cursor.execute(_UTC)
