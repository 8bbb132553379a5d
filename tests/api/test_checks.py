from typing import Any, ClassVar

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django_filters.rest_framework import DjangoFilterBackend
from pytest_django.fixtures import Settings
from rest_framework import serializers
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import AllowAny, BasePermission, IsAdminUser, IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet, ViewSet

from bandstand.api import FilterBackend, IntegerField, ModelSerializer
from bandstand.api.checks import (
    check_admin_is_limited,
    check_cache,
    check_cache_is_shared,
    check_lenient_fields,
    check_object_addresses,
    check_permission_policies,
)
from bandstand.identity import IsService, IsStaff, owner_or_staff


class View(APIView):
    def get(self, request: Any, pk: int = 0) -> Response:
        return Response({})


class Silent(View):
    pass


class Written(View):
    permission_classes = (IsAuthenticated,)


class Inherits(Written):
    pass


class Methods(View):
    def get_permissions(self) -> list[BasePermission]:
        return [IsAuthenticated()]


class LooksAtRequest(View):
    def get_permissions(self) -> list[BasePermission]:
        return [AllowAny() if self.request.method == "GET" else IsAdminUser()]


class HalfOpen(View):
    permission_classes = (owner_or_staff("pk") | IsAuthenticated,)


class Negated(View):
    permission_classes = (~IsAuthenticated,)


class Both(View):
    permission_classes = (owner_or_staff("pk") & IsAuthenticated,)


class Either(View):
    permission_classes = (owner_or_staff("pk") | IsService,)


class Public(View):
    permission_classes = (AllowAny,)


class Admin(View):
    permission_classes = (IsAdminUser,)


class Staff(View):
    permission_classes = (IsStaff,)


class Spoken(Written):
    object_policy = "any signed-in user"


class Narrowed(Written):
    def get_queryset(self) -> Any:
        return Group.objects.none()


@api_view()
def bare(request: Any) -> Response:
    return Response({})


@api_view()
@permission_classes([AllowAny])
def decorated(request: Any) -> Response:
    return Response({})


def plain(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse()


class Groups(ModelViewSet):
    queryset = Group.objects.all()
    permission_classes = (IsAuthenticated,)

    @action(detail=True, permission_classes=[owner_or_staff("pk")])
    def mine(self, request: Any, pk: int) -> Response:
        return Response({})


class ByAction(ViewSet):
    table: ClassVar = {"list": [AllowAny], "retrieve": [owner_or_staff("pk")]}

    def get_permissions(self) -> list[Any]:
        return [permission() for permission in self.table.get(self.action, [IsAuthenticated])]

    def list(self, request: Any) -> Response:
        return Response({})

    def retrieve(self, request: Any, pk: int) -> Response:
        return Response({})

    def update(self, request: Any, pk: int) -> Response:
        return Response({})


urlpatterns: list[Any] = []


def faults(settings: Settings, *patterns: Any) -> list[tuple[str, str]]:
    """Return the id and the name of what the check finds in a URLconf of these patterns."""
    urlpatterns[:] = [path("api/", include(list(patterns)))]
    settings.ROOT_URLCONF = __name__
    from django.urls import clear_url_caches

    clear_url_caches()
    found = check_permission_policies()
    assert all(fault.hint for fault in found)
    return sorted((str(fault.id)[-4:], str(fault.obj).removeprefix(f"{__name__}.")) for fault in found)


@pytest.mark.parametrize("view", [Silent, Written, Inherits, Methods, Public])
def test_a_view_says_who_may_use_it(settings: Settings, view: type[APIView]) -> None:
    """On itself or on a class of ours that it inherits from; the framework's default is no policy."""
    expected = [("E001", "Silent")] if view is Silent else []
    assert faults(settings, path("x/", view.as_view())) == expected


def test_a_function_says_it_by_a_decorator(settings: Settings) -> None:
    """What @api_view puts on the class is the default, which nobody has written."""
    found = faults(settings, path("bare/", bare), path("decorated/", decorated))
    assert [fault for fault, _ in found] == ["E001"]


def test_what_as_view_is_given_counts(settings: Settings) -> None:
    """As routers do with the arguments of @action."""
    assert faults(settings, path("x/", Silent.as_view(permission_classes=[AllowAny]))) == []


@pytest.mark.parametrize("view", [Both, Either, Public, Admin, Staff, Spoken, Narrowed, LooksAtRequest])
def test_object_policies(settings: Settings, view: type[APIView]) -> None:
    """A permission that looks at the object, one for everybody or for staff, a narrowed queryset, or a word."""
    assert faults(settings, path("x/<int:pk>/", view.as_view())) == []


@pytest.mark.parametrize("view", [Written, Inherits, Methods, HalfOpen, Negated])
def test_being_signed_in_is_no_object_policy(settings: Settings, view: type[APIView]) -> None:
    """The commonest hole in APIs; an alternative that looks at nothing opens it again."""
    assert faults(settings, path("x/<int:pk>/", view.as_view())) == [("E002", view.__name__)]
    assert faults(settings, path("x/", view.as_view())) == []


def test_each_action_of_a_viewset_is_looked_at(settings: Settings) -> None:
    """Detail routes of a router, each with the permissions of its own."""
    router = DefaultRouter()
    router.register("groups", Groups)
    assert faults(settings, path("", include(router.urls))) == [
        ("E002", f"Groups.{name}") for name in ("destroy", "partial_update", "retrieve", "update")
    ]
    router = DefaultRouter()
    router.register("by-action", ByAction, basename="by-action")
    assert faults(settings, path("", include(router.urls))) == [("E002", "ByAction.update")]


def test_what_is_not_rest_framework_is_left_alone(settings: Settings) -> None:
    """Plain Django views and the framework's own pages have rules of their own."""
    assert faults(settings, path("x/<int:pk>/", plain), path("", include("bandstand.api.urls"))) == []


def test_a_cache_that_keeps_nothing_is_an_error(settings: Settings) -> None:
    """Limits on guessing passwords would not hold."""
    assert check_cache() == []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert [fault.id for fault in check_cache()] == ["bandstand.api.E004"]
    assert check_cache_is_shared() == []


def test_a_cache_for_each_process_is_a_warning_in_production(settings: Settings) -> None:
    """`check --deploy` says so."""
    assert [fault.id for fault in check_cache_is_shared()] == ["bandstand.api.W001"]


class Line(serializers.Serializer[Any]):
    quantity = serializers.IntegerField()
    ids = serializers.ListField(child=serializers.UUIDField())
    count = serializers.IntegerField(read_only=True)
    strict = IntegerField()
    text = serializers.CharField()


class GroupLine(serializers.ModelSerializer[Group]):
    class Meta:
        model = Group
        fields = ("name", "permissions")


class StrictGroup(ModelSerializer[Group]):
    class Meta:
        model = Group
        fields = ("name", "permissions")


class Abstract(serializers.ModelSerializer[Group]):
    pass


class Filtered(Public):
    filter_backends = (DjangoFilterBackend,)


class FilteredStrictly(Public):
    filter_backends = (FilterBackend,)


def test_fields_that_read_more_than_json_are_found(settings: Settings) -> None:
    """Lenient fields are found also inside lists and relations; read-only fields and Bandstand's own are not."""
    assert faults(settings, path("x/", Filtered.as_view()), path("y/", FilteredStrictly.as_view())) == []
    found = [fault for fault in check_lenient_fields() if str(fault.obj).startswith(__name__)]
    assert [(fault.id, str(fault.obj).removeprefix(f"{__name__}.")) for fault in found] == [
        ("bandstand.api.W002", "GroupLine.permissions"),
        ("bandstand.api.W002", "Line.quantity"),
        ("bandstand.api.W002", "Line.ids"),
        ("bandstand.api.W003", "Filtered"),
    ]
    assert "bandstand.api.UUIDField" in str(found[2].hint)


class Plain(Public, GenericAPIView[Group]):
    queryset = Group.objects.all()


class ByName(Plain):
    lookup_field = "name"


def addresses(settings: Settings, *patterns: Any) -> list[tuple[str, str]]:
    faults(settings, *patterns)
    return [(str(fault.id), str(fault.obj).rpartition(".")[2]) for fault in check_object_addresses() if fault.hint]


def test_an_object_has_one_address(settings: Settings) -> None:
    """Routes that take any text for a number or UUID, or a UUID in lower case only, are found; text keys are not."""
    found = [("bandstand.api.W005", "Plain")]
    assert addresses(settings, path("x/<pk>/", Plain.as_view())) == found
    assert addresses(settings, path("x/<str:pk>/", Plain.as_view())) == found
    assert addresses(settings, re_path(r"x/(?P<pk>[^/.]+)/$", Plain.as_view())) == found
    assert addresses(settings, path("x/<int:pk>/", Plain.as_view())) == []
    assert addresses(settings, re_path(r"x/(?P<pk>[0-9]+)/$", Plain.as_view())) == []
    assert addresses(settings, path("x/<str:name>/", ByName.as_view())) == []
    assert addresses(settings, path("x/<uuid:pk>/", Public.as_view())) == [("bandstand.api.W004", "Public")]
    assert addresses(settings, path("x/<any_case_uuid:pk>/", Public.as_view())) == []


def test_an_admin_without_limits_is_a_warning_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's own admin site, which does not limit guesses, gives a warning; LimitedAdminSite gives none."""
    config = apps.get_app_config("admin")
    assert [message.id for message in check_admin_is_limited()] == ["bandstand.api.W006"]
    monkeypatch.setattr(config, "default_site", "bandstand.api.admin_site.LimitedAdminSite")
    assert check_admin_is_limited() == []
