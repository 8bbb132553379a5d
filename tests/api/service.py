"""A small service for the tests of this room: groups that are made under a key, and views that fail in all ways."""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework import serializers, status
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.generics import CreateAPIView
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ModelViewSet

from bandstand import exceptions
from bandstand.api import (
    CursorPagination,
    DateTimeField,
    DecimalField,
    Idempotent,
    IntegerField,
    LoginThrottle,
    UUIDField,
    idempotent,
    raises,
)

SECRET = "postgres://svc:hunter2@db.internal/shop"


class NameAuthentication(BaseAuthentication):
    """Takes the name in the header for a user's: these tests are not about identity."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        name = request.META.get("HTTP_X_TEST_USER")
        return (User(pk=int(name), username=f"user{name}"), None) if name else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ItemSerializer(serializers.Serializer):
    product = serializers.CharField(max_length=20)
    quantity = serializers.IntegerField(min_value=1, max_value=100)


class GroupSerializer(serializers.ModelSerializer):
    items = ItemSerializer(many=True, required=False, write_only=True)
    price = serializers.DecimalField(max_digits=10, decimal_places=2, required=False, write_only=True)

    class Meta:
        model = Group
        fields = ("id", "name", "items", "price")

    def create(self, validated_data: dict[str, Any]) -> Group:
        return Group.objects.create(name=validated_data["name"])


class GroupViewSet(Idempotent, ModelViewSet):
    queryset = Group.objects.order_by("pk")
    serializer_class = GroupSerializer
    permission_classes = (AllowAny,)
    authentication_classes = (NameAuthentication,)
    throttle_classes = ()

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        answer = super().create(request, *args, **kwargs)
        if request.data["name"] == "refuse":
            return Response({"refused": True}, status=status.HTTP_409_CONFLICT)
        if request.data["name"] == "crash":
            raise RuntimeError(SECRET)
        answer.headers["Location"] = f"/api/v1/groups/{answer.data['id']}/"
        return answer

    @action(detail=False, methods=["post"])
    @idempotent(required=False)
    def maybe(self, request: Request) -> Response:
        Group.objects.create(name=request.data["name"])
        return Response({"count": Group.objects.count()}, status=201)


class NewestFirst(CursorPagination):
    ordering = ("-name",)


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("id", "username", "date_joined")


class JoinedFirst(CursorPagination):
    ordering = ("-date_joined",)


class CursorViewSet(ModelViewSet):
    queryset = User.objects.all()
    serializer_class = UserSerializer
    permission_classes = (AllowAny,)
    pagination_class = JoinedFirst


class SignIn(APIView):
    permission_classes = (AllowAny,)
    authentication_classes = (NameAuthentication,)
    throttle_classes = (LoginThrottle,)

    def post(self, request: Request) -> Response:
        if not isinstance(request.data, dict) or request.data.get("password") != "right":
            return Response({"ok": True})
        LoginThrottle.forgive(request)
        return Response({"device": LoginThrottle.device_token(request)})


class Reading(APIView):
    permission_classes = (AllowAny,)
    authentication_classes = (NameAuthentication,)

    def get(self, request: Request) -> Response:
        return Response({"query": dict(request.query_params)})

    post = get


class Echo(APIView):
    permission_classes = (AllowAny,)
    throttle_classes = ()

    def post(self, request: Request) -> Response:
        return Response({"data": request.data})


class Members(APIView):
    permission_classes = (IsAuthenticated,)
    authentication_classes = (NameAuthentication,)

    def get(self, request: Request) -> Response:
        return Response({})


FAILURES: dict[str, Exception] = {
    "http404": Http404(SECRET),
    "denied": PermissionDenied(SECRET),
    "too-big": RequestDataTooBig(SECRET),
    "host": DisallowedHost(SECRET),
    "suspicious": SuspiciousOperation(SECRET),
    "operational": OperationalError(SECRET),
    "interface": InterfaceError(SECRET),
    "integrity": IntegrityError(SECRET),
    "data": DataError(SECRET),
    "validation": DjangoValidationError({"name": DjangoValidationError("Too short.", code="min_length")}),
    "deadline": exceptions.DeadlineExceeded(SECRET),
    "unavailable": exceptions.ServiceUnavailable(SECRET, service="user-service"),
    "circuit": exceptions.CircuitOpen(SECRET, service="user-service"),
    "too-many": exceptions.TooManyCalls(SECRET, service="user-service"),
    "timeout": exceptions.ServiceTimeout(SECRET, service="user-service"),
    "response": exceptions.ServiceResponseError(SECRET, service="user-service", status=500),
    "no-instances": exceptions.NoInstances(SECRET),
    "keys": exceptions.KeySetUnavailable(SECRET),
    "token": exceptions.InvalidToken(SECRET),
    "caller": exceptions.CallerNotAllowed(SECRET),
    "broker": exceptions.BrokerUnavailable(SECRET),
    "bug": RuntimeError(SECRET),
}


class Failing(APIView):
    permission_classes = (AllowAny,)
    throttle_classes = ()

    def get(self, request: Request, how: str) -> Response:
        raise FAILURES[how]


def failing(request: HttpRequest, how: str) -> HttpResponse:
    raise FAILURES[how]


def teapot(request: HttpRequest) -> HttpResponse:
    return HttpResponse("short and stout", status=418, headers={"Retry-After": "7"})


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(repr((request.GET.dict(), len(request.body))))


class Thing(APIView):
    """Something that a UUID names, counted by how often its work was done."""

    permission_classes = (AllowAny,)
    throttle_classes = ()

    def get(self, request: Request, pk: UUID) -> Response:
        return Response({"id": pk, "type": type(pk).__name__})

    @idempotent
    def post(self, request: Request, pk: UUID) -> Response:
        return Response({"id": pk, "group": Group.objects.create(name=f"{pk}-{Group.objects.count()}").pk}, status=201)


ANSWER: Any = {}


class Answer(APIView):
    """Answers with whatever a test puts into ``ANSWER``."""

    permission_classes = (AllowAny,)
    throttle_classes = ()

    def get(self, request: Request) -> Response:
        return Response(ANSWER)

    @idempotent
    def post(self, request: Request) -> Response:
        Group.objects.create(name="written")
        return Response(ANSWER)


class Teapot(APIException):
    status_code = 418
    default_code = "teapot"
    default_detail = "Short and stout."


class DocumentedSerializer(serializers.Serializer):
    examples: ClassVar[dict[str, Any]] = {"name": "Desk lamp"}

    id = UUIDField(read_only=True)
    name = serializers.CharField(max_length=20)
    price = DecimalField(max_digits=3, decimal_places=2, max_value=Decimal("2.50"))
    count = IntegerField(min_value=5)
    kind = serializers.ChoiceField(choices=[("a", "A"), ("b", "B")])
    tags = serializers.ListField(child=serializers.CharField(), max_length=3)
    key = UUIDField()
    at = DateTimeField()
    secret = serializers.CharField(write_only=True, min_length=8)
    lines = ItemSerializer(many=True, allow_empty=False, max_length=5)


class Documented(CreateAPIView):
    permission_classes = (AllowAny,)
    serializer_class = DocumentedSerializer
    throttle_classes = ()

    @raises(Teapot, Http404, exceptions.CircuitOpen)
    def post(self, request: Request) -> Response:
        """Brew coffee, e.g. with milk. The second sentence is for the description."""
        return Response({}, status=201)


class Hidden(GenericViewSet):
    permission_classes = (AllowAny,)


router = DefaultRouter()
router.register("groups", GroupViewSet, basename="group")
router.register("users", CursorViewSet, basename="user")

urlpatterns = [
    path("api/v1/", include(router.urls)),
    path("api/v1/sign-in/", SignIn.as_view()),
    path("api/v1/things/<any_case_uuid:pk>/", Thing.as_view()),
    path("api/v1/answer/", Answer.as_view()),
    path("api/v1/documented/", Documented.as_view()),
    path("api/v1/reading/", Reading.as_view()),
    path("api/v1/echo/", Echo.as_view()),
    path("api/v1/members/", Members.as_view()),
    path("api/v1/fail/<str:how>/", Failing.as_view()),
    path("api/v1/plain/fail/<str:how>/", failing),
    path("api/v1/plain/", plain),
    path("api/v1/teapot/", teapot),
    path("pages/teapot/", teapot),
    path("pages/fail/<str:how>/", failing),
    path("", include("bandstand.api.urls")),
]
