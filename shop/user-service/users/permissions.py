"""Who may do what to whom."""

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class IsSelf(BasePermission):
    """The user in the path is the one who asks.

    Decided by the path alone, before anything is looked up, so that the answer is the same whether another user's id
    exists or not.
    """

    message = "This belongs to another user."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user and request.user.is_authenticated and request.user.pk == view.kwargs.get("pk"))

    def has_object_permission(self, request: Request, view: APIView, obj: object) -> bool:
        return self.has_permission(request, view)
