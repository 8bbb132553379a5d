"""The OpenAPI document and the pages that show it, with every asset taken from this service."""

from importlib.resources import files
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

__all__ = ["DocumentationView", "SchemaView", "asset"]

_ASSETS: Final = files("drf_spectacular_sidecar") / "static" / "drf_spectacular_sidecar" / "swagger-ui-dist"
_TYPES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-standalone-preset.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# Nothing from elsewhere, and nothing of this page elsewhere. Swagger UI sets styles and draws pictures of its own.
_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
)


class _FormatNegotiation(DefaultContentNegotiation):
    """Chooses by ``?format=`` where it is given, else by ``Accept``: a browser can't set the header."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the renderer and its media type.

        Raises:
            Http404: there is no such format.
        """
        asked = request.query_params.get("format")
        if asked is None:
            return super().select_renderer(request, renderers, format_suffix)
        renderer = self.filter_renderers(renderers, asked)[0]
        return renderer, renderer.media_type


class SchemaView(SpectacularAPIView):
    """The OpenAPI document: YAML, or JSON with ``?format=json`` or ``Accept: application/json``."""

    renderer_classes = [  # noqa: RUF012 - as drf-spectacular has it
        OpenApiYamlRenderer,
        OpenApiYamlRenderer2,
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
    ]
    content_negotiation_class = _FormatNegotiation
    permission_classes = (AllowAny,)
    throttle_classes = ()


class DocumentationView(SpectacularSwaggerSplitView):
    """Swagger UI on this service's document."""

    permission_classes = (AllowAny,)
    throttle_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Return the page or, with ``?script=``, its script."""
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response.headers["Content-Security-Policy"] = _POLICY
        return response


@require_safe
@cache_control(public=True, max_age=86400)
def asset(_request: HttpRequest, name: str) -> HttpResponse:
    """One of the files that the page needs, from the package that carries them; needs no collected static files."""
    if name not in _TYPES:
        raise Http404
    return HttpResponse((_ASSETS / name).read_bytes(), content_type=_TYPES[name])
