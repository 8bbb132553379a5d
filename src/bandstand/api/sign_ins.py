"""Sign-ins that have ended, for a service that must not believe their access tokens until these expire.

A user token is verified without asking anybody, so it is good until it expires. The service that issues tokens
publishes an event when a sign-in ends; a service in which a token can do harm meanwhile keeps what it hears in a table,
and asks the table where it matters.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import router, transaction
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from bandstand.api.idempotency_table import can_skip_locked
from bandstand.api.models import EndedSignIn
from bandstand.identity import UserClaims

if TYPE_CHECKING:
    # Views import the classes that REST framework's settings name, this room's among them.
    from rest_framework.views import APIView

__all__ = ["SignInIsCurrent", "end_sign_in", "purge_ended_sign_ins"]

# Longer than any user token lives, with the disagreement of clocks.
_KEPT: Final = timedelta(hours=25)
_PURGED_AT_ONCE: Final = 100


class SignInIsCurrent(BasePermission):
    """A user whose sign-in has not ended, as far as this service has heard: one look-up by primary key.

    The sign-in is the claim ``sid`` of the token. A token without it can't be ended, so it is refused. Combine it with
    what says who may: ``[IsAuthenticated & SignInIsCurrent]``.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - REST framework's signature
        """Return whether the request has a user's token.

        Raises:
            AuthenticationFailed: its sign-in has ended (401, ``signed_out``).
        """
        if not isinstance(request.auth, UserClaims):
            return False
        sid = request.auth.extra.get("sid")
        if not isinstance(sid, str) or EndedSignIn.objects.filter(sid=sid).exists():
            raise AuthenticationFailed("This sign-in has ended. Sign in again.", code="signed_out")
        return True


def end_sign_in(sid: str) -> None:
    """Refuse the tokens of the sign-in ``sid`` from now on, where :class:`SignInIsCurrent` is asked. Twice is once.

    Call it in the handler of the event that tells of it.
    """
    EndedSignIn.objects.bulk_create([EndedSignIn(sid=sid, ended_at=timezone.now())], ignore_conflicts=True)
    purge_ended_sign_ins()


def purge_ended_sign_ins() -> int:
    """Forget a few sign-ins whose last token has expired; return how many."""
    using = router.db_for_write(EndedSignIn)
    over = EndedSignIn.objects.using(using).filter(ended_at__lt=timezone.now() - _KEPT)
    with transaction.atomic(using=using):
        rows = over.order_by("ended_at").select_for_update(skip_locked=can_skip_locked(using))
        sids = list(rows.values_list("pk", flat=True)[:_PURGED_AT_ONCE])
        return EndedSignIn.objects.using(using).filter(pk__in=sids).delete()[0] if sids else 0
