"""What happens however a row goes away: in the admin, with its user, or by hand."""

from typing import Any

from django.db.models.signals import post_delete
from django.dispatch import receiver

from users.events import announce_ended
from users.models import TokenFamily


@receiver(post_delete, sender=TokenFamily)
def announce_deleted_sign_in(instance: TokenFamily, **_: Any) -> None:
    """A sign-in that is deleted while it counts has ended, as one that is revoked has."""
    if instance.is_active:
        announce_ended(instance.pk, instance.user_id)
