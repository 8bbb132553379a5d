from typing import Any

from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

import bandstand.identity.schema  # noqa: F401 - importing registers the extension
from bandstand.identity import UserTokenAuthentication


class OwnAuthentication(UserTokenAuthentication):
    """As a service writes that loads its own users."""


class View(APIView):
    authentication_classes = (UserTokenAuthentication,)
    serializer_class = Serializer
    schema = AutoSchema()

    def get(self, request: Request) -> Response:
        return Response()


class OwnView(View):
    authentication_classes = (OwnAuthentication,)


def document(view: type[APIView]) -> Any:
    return SchemaGenerator(patterns=[path("things/", view.as_view())]).get_schema(request=None, public=True)


def test_the_document_tells_of_user_tokens() -> None:
    """Each operation behind user tokens says so, with a bearer scheme; also behind a class made of ours."""
    for view in (View, OwnView):
        schema = document(view)
        assert schema["components"]["securitySchemes"]["userToken"] == {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The token that signing in returns.",
        }
        assert {"userToken": []} in schema["paths"]["/things/"]["get"]["security"]
