"""Who may do what with orders."""

from uuid import UUID

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from orders.models import Order


class IsCustomer(IsAuthenticated):
    """Somebody with an account of the shop, whose id is a UUID. It becomes part of a path of the user service."""

    message = "This account can't place orders."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and _is_uuid(request.user.pk)


class IsBuyer(IsCustomer):
    """Whoever placed the order, and not staff, who may look at it."""

    message = "Only who placed an order can do this."

    def has_object_permission(self, request: Request, view: APIView, obj: Order) -> bool:
        return str(obj.user_id) == str(request.user.pk)


def _is_uuid(text: object) -> bool:
    try:
        return str(UUID(str(text))) == text
    except ValueError:
        return False
