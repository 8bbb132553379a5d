"""Signal handlers, which run however a row is deleted: in the admin, with its user, or by hand."""

from typing import Any

from django.db.models.signals import post_delete
from django.dispatch import receiver

from users.events import announce_ended
from users.models import TokenFamily


@receiver(post_delete, sender=TokenFamily)
def announce_deleted_sign_in(instance: TokenFamily, **_: Any) -> None:
    """Publish that a sign-in has ended when it is deleted while it is active."""
    if instance.is_active:
        announce_ended(instance.pk, instance.user_id)
