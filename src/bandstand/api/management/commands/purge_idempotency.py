"""``manage.py purge_idempotency``: delete expired idempotency keys."""

from typing import Any

from django.core.management.base import BaseCommand

from bandstand.api.idempotency import purge_expired

__all__ = ["Command"]


class Command(BaseCommand):
    """Services do this by themselves now and then; run it where a table must shrink at once."""

    help = "Delete idempotency keys whose time is over."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Delete in batches until none is left."""
        total = 0
        while deleted := purge_expired():
            total += deleted
        self.stdout.write(f"Deleted {total} expired idempotency keys.")
