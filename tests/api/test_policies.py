"""The policy table of a viewset, at run time and in the system check."""

from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.urls import path
from pytest_django.fixtures import Settings
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.viewsets import GenericViewSet

from bandstand.api import NoOne, PolicyTable
from bandstand.api.checks import check_permission_policies


class Documents(PolicyTable, GenericViewSet):
    policy: ClassVar = {"list": [AllowAny], "create": [IsAuthenticated], "retrieve": [IsAuthenticated & ~NoOne]}
    authentication_classes = ()
    throttle_classes = ()
    queryset = Group.objects.all()

    def list(self, request: Any) -> Response:
        return Response([])

    def create(self, request: Any) -> Response:
        return Response({}, status=201)

    def destroy(self, request: Any) -> Response:
        return Response(status=204)


view = Documents.as_view({"get": "list", "post": "create", "delete": "destroy"})
urlpatterns = [path("api/v1/documents/", view)]


@pytest.fixture
def client(settings: Settings) -> APIClient:
    settings.ROOT_URLCONF = __name__
    return APIClient()


def test_the_table_says_who_may(client: APIClient) -> None:
    """Each action asks the permissions of its own row."""
    assert client.get("/api/v1/documents/").status_code == 200
    assert client.post("/api/v1/documents/", {}).status_code == 403


def test_what_the_table_does_not_name_is_refused_to_everybody(client: APIClient) -> None:
    """An action without a row is closed, also for a superuser."""
    client.force_authenticate(User(username="root", is_staff=True, is_superuser=True))
    assert client.delete("/api/v1/documents/").status_code == 403


def test_asking_for_options_tells_nothing(client: APIClient) -> None:
    """REST framework describes serializers to whoever asks by OPTIONS; that has no row either."""
    assert client.options("/api/v1/documents/").status_code == 403


def test_an_unknown_method_is_405_whoever_asks(client: APIClient) -> None:
    """Where there is nothing there is nobody to refuse."""
    assert client.put("/api/v1/documents/", {}).status_code == 405


def test_the_check_names_actions_without_a_row(settings: Settings) -> None:
    """A row that was forgotten, or whose name is misspelt, is found before the service starts."""
    settings.ROOT_URLCONF = __name__
    [fault] = check_permission_policies()
    assert fault.id == "bandstand.api.E003"
    assert "Documents.destroy (at /api/v1/documents/)" in fault.msg


def test_no_one_is_no_one() -> None:
    """It refuses staff and strangers, of everything and of single objects."""
    request: Any = APIRequestFactory().get("/")
    for user in (AnonymousUser(), User(is_staff=True, is_superuser=True)):
        request.user = user
        assert not NoOne().has_permission(request, view=None)  # type: ignore[arg-type]
        assert not NoOne().has_object_permission(request, view=None, obj=object())  # type: ignore[arg-type]
