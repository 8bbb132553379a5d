"""The statements on the table of idempotency keys."""

from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from django.db import connections
from django.db.models import Field, QuerySet
from django.db.models.constants import OnConflict

from bandstand.api.idempotency_identity import Identity
from bandstand.api.models import IdempotencyRecord

__all__ = ["claim", "complete", "delete", "find"]

_CLAIM_POSTGRESQL: Final = (Path(__file__).parent / "claim_postgresql.sql").read_text()
_META: Final = IdempotencyRecord._meta  # noqa: SLF001 - Django's documented model API
_COLUMNS: Final = (
    "caller", "route", "key", "fingerprint", "state", "status", "headers", "body", "created_at", "expires_at",
)  # fmt: skip


def claim(using: str, identity: Identity, *, now: datetime, expires_at: datetime) -> bool:
    """Insert the row in flight; False when it exists, or when another transaction is inserting it.

    On PostgreSQL this never waits for the other transaction: an advisory lock says at once that there is one.
    Elsewhere it waits until the other one ends, or until the database's own time-out.
    """
    connection = connections[using]
    record = IdempotencyRecord(
        caller=identity.caller, route=identity.route, key=identity.key, fingerprint=identity.fingerprint,
        state=IdempotencyRecord.State.IN_FLIGHT, headers={}, created_at=now, expires_at=expires_at,
    )  # fmt: skip
    if connection.vendor == "postgresql":
        sql, lock = _CLAIM_POSTGRESQL, [identity.lock_number()]
    else:
        sql, lock = _portable_claim(connection), []
    with connection.cursor() as cursor:
        cursor.execute(sql, [*lock, *_values(connection, record)])
        return bool(cursor.rowcount == 1)


def complete(using: str, identity: Identity, *, status: int, headers: dict[str, str], body: bytes) -> None:
    """Store the answer in the row that :func:`claim` inserted."""
    _rows(using, identity).update(state=IdempotencyRecord.State.COMPLETED, status=status, headers=headers, body=body)


def find(using: str, identity: Identity) -> IdempotencyRecord | None:
    """Return the row of the key, if it is committed."""
    return _rows(using, identity).first()


def delete(using: str, record: IdempotencyRecord) -> bool:
    """Delete a row whose time is over; False when somebody else did."""
    return IdempotencyRecord.objects.using(using).filter(pk=record.pk).delete()[0] > 0


def _rows(using: str, identity: Identity) -> QuerySet[IdempotencyRecord]:
    return IdempotencyRecord.objects.using(using).filter(
        caller=identity.caller, route=identity.route, key=identity.key
    ).order_by()  # fmt: skip


def _values(connection: Any, record: IdempotencyRecord) -> list[Any]:
    fields: list[Field[Any, Any]] = [cast("Field[Any, Any]", _META.get_field(name)) for name in _COLUMNS]
    return [field.get_db_prep_save(getattr(record, field.attname), connection) for field in fields]


def _portable_claim(connection: Any) -> str:
    """`INSERT … ON CONFLICT DO NOTHING` in the words of SQLite, MySQL and others, as Django knows them."""
    quote = connection.ops.quote_name
    suffix = connection.ops.on_conflict_suffix_sql([], OnConflict.IGNORE, [], [])
    columns = ", ".join(map(quote, _COLUMNS))
    values = ", ".join(["%s"] * len(_COLUMNS))
    insert = connection.ops.insert_statement(on_conflict=OnConflict.IGNORE)
    return f"{insert} {quote(_META.db_table)} ({columns}) VALUES ({values}) {suffix}"
