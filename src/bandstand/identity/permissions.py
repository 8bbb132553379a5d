"""Who may, as DRF permissions; each has an object policy, and they combine with ``|``, ``&`` and ``~``."""

import functools
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission, OperandHolder
from rest_framework.request import Request

if TYPE_CHECKING:
    # Views import the classes that DRF's settings name, this room's among them: to import views here would go round.
    from rest_framework.views import APIView

__all__ = ["IsService", "IsStaff", "ServiceOr", "is_service", "owner_or_staff"]


class IsService(BasePermission):
    """Any service that is on the list of callers, with a user's token or without."""

    message = "Only other services may ask this."

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - DRF's signature
        """Say whether a service is asking."""
        return _caller(request) is not None

    def has_object_permission(self, request: Request, view: "APIView", obj: object) -> bool:  # noqa: ARG002
        """Say the same: a service may have every object."""
        return self.has_permission(request, view)


class IsStaff(BasePermission):
    """A user whose token says staff."""

    message = "Only staff may do this."

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - DRF's signature
        """Say whether the user is staff."""
        return _is_staff(request)

    def has_object_permission(self, request: Request, view: "APIView", obj: object) -> bool:  # noqa: ARG002
        """Say the same: staff may have every object."""
        return self.has_permission(request, view)


@functools.cache
def is_service(*names: str) -> type[IsService]:
    """Return the permission for the services of these names alone; the list of callers must hold them too."""

    class IsNamedService(IsService):
        message = f"Only {' and '.join(names)} may ask this."

        def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - DRF's signature
            return _caller(request) in names

    return IsNamedService


@functools.cache
def owner_or_staff(attribute: str) -> type[BasePermission]:
    """Return the permission for signed-in users; of an object, for its owner and staff.

    ``attribute`` leads from the object to its owner's id, with dots where it is further away: ``"pk"`` for users
    themselves, ``"user_id"``, ``"order.user_id"``. An object without an owner is for staff alone.
    """
    owner_of = attrgetter(attribute)

    class OwnerOrStaff(BasePermission):
        message = "This belongs to another user."

        def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - DRF's signature
            return _is_signed_in(request)

        def has_object_permission(self, request: Request, view: "APIView", obj: Any) -> bool:  # noqa: ARG002
            if not _is_signed_in(request):
                return False
            owner = owner_of(obj)
            return _is_staff(request) or (owner is not None and str(owner) == str(request.user.pk))

    return OwnerOrStaff


def ServiceOr(permission: type[BasePermission] | OperandHolder) -> OperandHolder:  # noqa: N802 - reads as the class it makes
    """Return the permission for services and for whom ``permission`` lets in: ``IsService | permission``."""
    return IsService | permission


def _caller(request: Request) -> str | None:
    """The calling service, which only ServiceAuthMiddleware sets."""
    caller: str | None = getattr(request, "service", None)
    return caller


def _is_signed_in(request: Request) -> bool:
    return bool(getattr(request.user, "is_authenticated", False))  # DRF may be set to have no user at all


def _is_staff(request: Request) -> bool:
    return _is_signed_in(request) and bool(getattr(request.user, "is_staff", False))
