"""Who may use which action of a viewset, as a table. What the table does not name, nobody may do."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from rest_framework.permissions import BasePermission, OperandHolder, SingleOperandHolder
from rest_framework.request import Request

if TYPE_CHECKING:
    # Views import the classes that REST framework's settings name, this room's among them.
    from rest_framework.views import APIView

__all__ = ["NoOne", "PolicyTable"]

Permission: TypeAlias = type[BasePermission] | OperandHolder | SingleOperandHolder


class NoOne(BasePermission):
    """Refuses everybody, and combined with ``|`` leaves it to the others."""

    def has_permission(self, request: Request, view: "APIView") -> bool:  # noqa: ARG002 - REST framework's signature
        """Say no."""
        return False

    def has_object_permission(self, request: Request, view: "APIView", obj: object) -> bool:  # noqa: ARG002
        """Say no."""
        return False


class PolicyTable:
    """A mixin for viewsets: ``policy`` names for each action who may use it.

    ::

        class OrderViewSet(PolicyTable, ModelViewSet):
            policy = {
                "list": [IsAuthenticated],
                "retrieve": [owner_or_staff("user_id")],
                "create": [IsAuthenticated],
            }

    An action that is not in the table is refused to everybody, and ``manage.py check`` names it. A method that the
    route does not know is answered 405, whoever asks.
    """

    policy: ClassVar[Mapping[str, Sequence[Permission]]]
    action: str | None

    def get_permissions(self) -> list[Any]:
        """Return the permissions of the action that is asked for."""
        if self.action is None:
            return []
        return [permission() for permission in self.policy.get(self.action, (NoOne,))]
