"""Deletion of rows that are no longer needed, a few at a time."""

from typing import Any

from django.db import connections, transaction
from django.db.models import QuerySet

__all__ = ["delete_oldest"]


def delete_oldest(rows: QuerySet[Any], field: str, limit: int) -> int:
    """Delete at most ``limit`` of ``rows``, those with the least ``field`` first; return how many.

    Rows that another transaction has locked are passed over, where the database can do so.
    """
    can_skip = bool(connections[rows.db].features.has_select_for_update_skip_locked)
    with transaction.atomic(using=rows.db):
        locked = rows.order_by(field).select_for_update(skip_locked=can_skip)
        keys = list(locked.values_list("pk", flat=True)[:limit])
        return rows.filter(pk__in=keys).delete()[0] if keys else 0
