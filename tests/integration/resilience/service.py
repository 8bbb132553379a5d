"""A service of one file, to stand in a chain of such: `granian tests.integration.resilience.service:application`.

Environment: NAME, NEXT (the service that it asks, or nothing), DISCOVERY, CLIENT (its client's settings, as JSON),
FAILS (1: every /task/ is a 503), LEDGER (a file that gets a line for each /task/ that arrives).
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import django
from django.conf import settings

NEXT = os.environ.get("NEXT", "")
FAILS = os.environ.get("FAILS") == "1"
LEDGER = Path(os.environ["LEDGER"])

settings.configure(
    SECRET_KEY="tests-only",
    ALLOWED_HOSTS=["127.0.0.1"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["bandstand"],
    DATABASES={"default": {"ENGINE": "django.db.backends.dummy"}},
    MIDDLEWARE=[
        f"{__name__}.timed",
        "bandstand.context.RequestTrackingMiddleware",
        "bandstand.api.ProblemDetailsMiddleware",
    ],
    BANDSTAND={
        "SERVICE": os.environ["NAME"],
        "DISCOVERY": {"URL": os.environ.get("DISCOVERY", "static:")},
        "CLIENT": json.loads(os.environ.get("CLIENT", "{}")),
    },
    LOGGING={"version": 1, "root": {"level": "ERROR"}},
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - Django must be set up first
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402

from bandstand.client import ServiceClient  # noqa: E402


def timed(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Tell how long the answer took here, for benchmarks: what a busy client adds to it is not the service's."""

    def middleware(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        response = get_response(request)
        response.headers["X-Took"] = str(time.perf_counter() - began)
        return response

    return middleware


def task(request: HttpRequest) -> JsonResponse:
    """Do one piece of work, which may be to have it done."""
    with LEDGER.open("a") as ledger:
        ledger.write(f"{request.method} {request.GET.get('id', '')}\n")
    if FAILS:
        return JsonResponse({}, status=503)
    if NEXT:
        assert request.method is not None
        answer = ServiceClient(NEXT).request(
            request.method,
            "/task/",
            params={"id": request.GET.get("id")},
            idempotency_key=request.GET.get("key"),
        )
        return JsonResponse({"by": answer.json()["by"]})
    return JsonResponse({"by": os.getpid()})


def own(request: HttpRequest) -> JsonResponse:
    """What this service answers by itself."""
    return JsonResponse({"by": os.getpid()})


urlpatterns = [path("task/", task), path("own/", own), path("", include("bandstand.health.urls"))]

application = get_wsgi_application()
