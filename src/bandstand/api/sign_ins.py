"""Sign-ins that have ended, for services that must refuse their access tokens before these expire.

A user token is verified without a call to its issuer, so it stays valid until it expires. The issuer publishes an event
when a sign-in ends; a service in which a token could do harm meanwhile stores these events in a table, and consults it
in the permission of critical actions.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import router
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from bandstand.api.models import EndedSignIn
from bandstand.api.purging import delete_oldest
from bandstand.identity import UserClaims

if TYPE_CHECKING:
    # Views import the classes that REST framework's settings name, this module's among them.
    from rest_framework.views import APIView

__all__ = ["SignInIsCurrent", "end_sign_in", "purge_ended_sign_ins"]

# Longer than any user token lives, with the disagreement of clocks.
_KEPT: Final = timedelta(hours=25)
_PURGED_AT_ONCE: Final = 100


class SignInIsCurrent(BasePermission):
    """Permits users whose sign-in has not ended, as far as this service knows: one look-up by primary key.

    The sign-in is the claim ``sid`` of the token. A token without it can't be ended, so it is refused. Combine it with
    other permissions: ``[IsAuthenticated & SignInIsCurrent]``.
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
    """Refuse the tokens of the sign-in ``sid`` from now on, where :class:`SignInIsCurrent` is used.

    Call it in the handler of the issuer's event; repeated calls change nothing.
    """
    EndedSignIn.objects.bulk_create([EndedSignIn(sid=sid, ended_at=timezone.now())], ignore_conflicts=True)
    purge_ended_sign_ins()


def purge_ended_sign_ins() -> int:
    """Delete some of the rows whose last token has expired; return how many."""
    using = router.db_for_write(EndedSignIn)
    over = EndedSignIn.objects.using(using).filter(ended_at__lt=timezone.now() - _KEPT)
    return delete_oldest(over, "ended_at", _PURGED_AT_ONCE)
