"""What every service answers beside its API: health, metrics, the OpenAPI document, static files in development.

A service ends its ``urlpatterns`` with ``path("", include("bandstand.urls"))``. A gateway routes none of these paths.
"""

from django.conf import settings
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bandstand.context import render_metrics

__all__ = ["metrics", "urlpatterns"]


@never_cache
@require_safe
def metrics(_request: HttpRequest) -> HttpResponse:
    """The metrics of this process in Prometheus' text format."""
    body, content_type = render_metrics()
    return HttpResponse(body, content_type=content_type)


urlpatterns = [
    path("", include("bandstand.health.urls")),
    path("metrics", metrics, name="metrics"),
    path("", include("bandstand.api.urls")),
]
if settings.DEBUG:
    urlpatterns += staticfiles_urlpatterns()
