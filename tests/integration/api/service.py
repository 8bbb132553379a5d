"""A service of one file on real servers: `python -m tests.integration.api.service migrate`, or under granian.

Environment: DATABASE_URL, CACHE_URL, PROTECTION (off: no idempotency keys), THREADS, BANDSTAND_LOG.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from bandstand.api import rest_framework_settings
from tests.integration.events.databases import database_settings
from tests.waiting import GUARD, until

database = database_settings(os.environ["DATABASE_URL"])
cache = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
if "CACHE_URL" in os.environ:
    cache = {
        "BACKEND": "bandstand.cache.ResilientRedisCache",
        "LOCATION": os.environ["CACHE_URL"],
        "KEY_PREFIX": "user-service",
        "OPTIONS": {"timeout": GUARD},
    }

settings.configure(
    SECRET_KEY="tests-only",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    DATABASES={"default": database},
    CACHES={"default": cache},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "bandstand.api"],
    MIDDLEWARE=[
        "bandstand.context.RequestTrackingMiddleware",
        "bandstand.api.ProblemDetailsMiddleware",
        "bandstand.api.RequestLimitsMiddleware",
        "django.middleware.common.CommonMiddleware",
    ],
    BANDSTAND={
        "SERVICE": "user-service",
        "HEALTH": {"CACHE": 0.0},
        "API": {"THREADS": int(os.environ.get("THREADS", "8"))},
    },
    REST_FRAMEWORK=rest_framework_settings(
        DEFAULT_THROTTLE_RATES={"client": None, "login": "10/15min", "login-address": None}
    ),
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "bandstand.context.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
    },
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402 - Django must be set up first
from django.core.management import execute_from_command_line  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.authentication import BaseAuthentication  # noqa: E402
from rest_framework.filters import OrderingFilter, SearchFilter  # noqa: E402
from rest_framework.permissions import AllowAny  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.routers import DefaultRouter  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework.viewsets import ModelViewSet  # noqa: E402

from bandstand.api import CursorPagination, LoginThrottle, idempotency, idempotent  # noqa: E402

if os.environ.get("PROTECTION") == "off":
    idempotency._once = lambda _identity, work: work()


class NameAuthentication(BaseAuthentication):
    """Takes the number in the header for a user's."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        number = request.META.get("HTTP_X_TEST_USER")
        return (User(pk=int(number)), None) if number else None


class Orders(APIView):
    """Places an order: slowly, or when a gate is open, which is a file; dies where it is told to."""

    permission_classes = (AllowAny,)
    authentication_classes = (NameAuthentication,)

    @idempotent
    def post(self, request: Request) -> Response:
        with connection.cursor() as cursor:
            column = connection.ops.quote_name("key")
            cursor.execute(
                f"INSERT INTO placed ({column}) VALUES (%s) RETURNING id",
                [request.headers.get("Idempotency-Key", "")],
            )
            [number] = cursor.fetchone()
        if gate := request.data.get("gate"):
            until(Path(gate).exists, "the test to open the gate")
        time.sleep(request.data.get("seconds", 0.05))
        if request.data.get("die") == "before the commit":
            os._exit(9)
        if request.data.get("die") == "after the commit":
            transaction.on_commit(lambda: os._exit(9))
        return Response({"id": number, "total": request.data.get("total")}, status=201)


class GroupSerializer(serializers.ModelSerializer):
    price = serializers.DecimalField(max_digits=10, decimal_places=2, required=False, write_only=True)
    at = serializers.DateTimeField(required=False, write_only=True)
    token = serializers.UUIDField(required=False, write_only=True)

    class Meta:
        model = Group
        fields = ("id", "name", "price", "at", "token")

    def create(self, validated_data: dict[str, Any]) -> Group:
        return Group.objects.create(name=validated_data["name"])


class Groups(ModelViewSet):
    permission_classes = (AllowAny,)
    authentication_classes = ()
    queryset = Group.objects.order_by("pk")
    serializer_class = GroupSerializer
    filter_backends = (SearchFilter, OrderingFilter)
    search_fields = ("name",)
    ordering_fields = ("name", "id")


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("id", "username", "date_joined")


class Joined(CursorPagination):
    ordering = ("-date_joined",)


class Users(ModelViewSet):
    permission_classes = (AllowAny,)
    authentication_classes = ()
    queryset = User.objects.all()
    serializer_class = UserSerializer
    pagination_class = Joined


class SignIn(APIView):
    permission_classes = (AllowAny,)
    authentication_classes = (NameAuthentication,)
    throttle_classes = (LoginThrottle,)

    def post(self, request: Request) -> Response:
        return Response({"ok": True})


class Reading(APIView):
    permission_classes = (AllowAny,)
    authentication_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"groups": Group.objects.count()})

    def post(self, request: Request) -> Response:
        return Response({"data": request.data})


def query(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"query": request.GET.dict(), "body": len(request.body)})


router = DefaultRouter()
router.register("groups", Groups)
router.register("users", Users)

urlpatterns = [
    path("api/v1/", include(router.urls)),
    path("api/v1/orders/", Orders.as_view()),
    path("api/v1/sign-in/", SignIn.as_view()),
    path("api/v1/reading/", Reading.as_view()),
    path("api/v1/query/", query),
    path("", include("bandstand.health.urls")),
]

application = get_wsgi_application()

if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        execute_from_command_line(["manage.py", "migrate", "--verbosity", "0"])
        with connection.cursor() as cursor:
            column = connection.ops.quote_name("key")
            cursor.execute(f"CREATE TABLE IF NOT EXISTS placed (id serial PRIMARY KEY, {column} text NOT NULL)")
