"""A small service for these tests: a viewset that withstands everything, and views with a fault each."""

from typing import Any, ClassVar

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from bandstand.api import PolicyTable


class LineSerializer(serializers.Serializer):
    quantity = serializers.IntegerField(min_value=1, max_value=100)


class GroupSerializer(serializers.ModelSerializer):
    lines = LineSerializer(many=True, write_only=True)

    class Meta:
        model = Group
        fields = ("id", "name", "lines")

    def create(self, validated_data: dict[str, Any]) -> Group:
        return Group.objects.create(name=validated_data["name"])


class GroupViewSet(PolicyTable, ModelViewSet):
    policy: ClassVar = {"list": [AllowAny], "create": [AllowAny], "retrieve": [AllowAny]}
    authentication_classes = ()
    throttle_classes = ()
    http_method_names = ("get", "post", "head", "options")
    queryset = Group.objects.order_by("pk")
    serializer_class = GroupSerializer


class Careless(APIView):
    """Takes for granted that a quantity is a number."""

    permission_classes = (AllowAny,)
    authentication_classes = ()
    throttle_classes = ()

    def post(self, request: Request) -> Response:
        return Response({"double": [2 * int(line["quantity"]) for line in request.data["lines"]]})

    def get(self, request: Request) -> Response:
        return Response({"page": int(request.query_params.get("page", 1)), "trace": request.headers.get("X-Trace")})

    def put(self, request: Request) -> Response:
        return Response({"error": "not as everybody else says it"}, status=400)


class Everything(Careless):
    """Finds something wherever one looks."""

    def get(self, request: Request, name: str) -> Response:
        return Response({"name": name})


def function(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


router = SimpleRouter(use_regex_path=False)
router.register("api/v1/groups", GroupViewSet, basename="group")
urlpatterns = [
    *router.urls,
    path("api/v1/careless/", Careless.as_view()),
    path("api/v2/everything/<str:name>/", Everything.as_view()),
    path("api/v3/function/", function),
    re_path(r"^api/v4/careless/(?P<year>[0-9]{4})/$", Careless.as_view()),
    path("health/", function),
]
