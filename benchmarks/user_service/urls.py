"""One user, known by heart: what is measured is the way there and back."""

from typing import Any, ClassVar

from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

USER = {"id": "0190163d-8694-739b-aea5-966c26f8ad91", "text": "x" * 964}


class UserView(APIView):
    """Everybody may ask, since the bare libraries that are compared bring no token."""

    permission_classes: ClassVar[list[Any]] = [AllowAny]

    def get(self, request: Request, pk: int) -> Response:
        """Return the user, whoever is meant."""
        del request, pk
        return Response(USER)


urlpatterns = [path("api/v1/users/<int:pk>/", UserView.as_view())]
