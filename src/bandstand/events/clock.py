"""The database's clock, so that those of several machines don't matter."""

from datetime import timedelta
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ExpressionWrapper
from django.db.models.fields import DateTimeField
from django.db.models.functions import Now as DjangoNow

__all__ = ["Now", "after", "now_sql"]

_MYSQL: Final = "UTC_TIMESTAMP(6)"
_NOW: Final = {
    "postgresql": "STATEMENT_TIMESTAMP()",
    "mysql": _MYSQL,
    "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",  # whose CURRENT_TIMESTAMP has whole seconds
}


class Now(DjangoNow):
    """Django's, but in UTC on MySQL too, whose own ``CURRENT_TIMESTAMP`` is in the time zone of the session."""

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return the SQL."""
        return self.as_sql(compiler, connection, template=_MYSQL, **context)


def after(seconds: float) -> "ExpressionWrapper[Any]":
    """The database's time, ``seconds`` from now."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())


def now_sql(connection: BaseDatabaseWrapper) -> str:
    """Return the same as SQL for a statement with parameters."""
    return _NOW[connection.vendor]
