"""The service of the examples in docs/reference/testing.md: everybody reads their own notes. A group plays a note."""

from typing import ClassVar

from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from rest_framework import mixins, serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import GenericViewSet

from bandstand.api import PolicyTable


class NameAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[User, None] | None:
        name = request.META.get("HTTP_X_USER", "")
        return (User(pk=1, username=name), None) if name else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Group
        fields = ("id", "name")


class NoteViewSet(PolicyTable, mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet):
    policy: ClassVar = {"list": [IsAuthenticated], "retrieve": [IsAuthenticated]}
    authentication_classes = (NameAuthentication,)
    throttle_classes = ()
    serializer_class = NoteSerializer
    lookup_value_regex = "[0-9]{1,9}"

    def get_queryset(self) -> QuerySet[Group]:
        return Group.objects.filter(name=self.request.user.get_username()).order_by("pk")


router = SimpleRouter()
router.register("api/v1/notes", NoteViewSet, basename="note")
urlpatterns = router.urls
