"""The endpoint of notifications: everybody sees their own."""

from __future__ import annotations

from typing import Any, ClassVar

from bandstand.api import PolicyTable
from django.db.models import QuerySet
from rest_framework import mixins
from rest_framework.permissions import IsAuthenticated
from rest_framework.viewsets import GenericViewSet

from notifications.models import Notification
from notifications.serializers import NotificationSerializer


class NotificationViewSet(PolicyTable, mixins.ListModelMixin, GenericViewSet[Notification]):
    """What the shop told the user, newest first."""

    policy: ClassVar[dict[str, list[Any]]] = {"list": [IsAuthenticated]}
    queryset = Notification.objects.all()
    serializer_class = NotificationSerializer

    def get_queryset(self) -> QuerySet[Notification]:
        """Return the user's own."""
        return super().get_queryset().filter(user_id=self.request.user.pk)
