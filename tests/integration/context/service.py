"""A service of one file, served by granian as every service is: run with BANDSTAND_* variables of its own."""

import logging
import os
import signal
import sys
from pathlib import Path

import dj_database_url
import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path

from bandstand.context import client_ip, current
from tests.waiting import until

database = dict(dj_database_url.parse(os.environ.get("DATABASE_URL", "sqlite://:memory:")))
if "DATABASE_URL" in os.environ:
    database |= {"ENGINE": "bandstand.postgresql", "OPTIONS": {"pool": {"max_size": 4, "timeout": 5}}}

drain = float(os.environ.get("DRAIN", "0"))

settings.configure(
    SECRET_KEY="tests-only",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": database},
    INSTALLED_APPS=["django.contrib.contenttypes"] if "DATABASE_URL" in os.environ else [],
    MIDDLEWARE=["bandstand.context.RequestTrackingMiddleware", "django.middleware.common.CommonMiddleware"],
    BANDSTAND={
        "SERVICE": "echo-service",
        "HEALTH": {
            "DRAIN": float(os.environ.get("DRAIN", "0")),
            "CACHE": 0.0,
            "TIMEOUT": float(os.environ.get("TIMEOUT", "1")),
        },
    },
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "bandstand.context.JsonFormatter"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {"django.request": {"level": "ERROR"}},
    },
)
django.setup()

from django.core.management import execute_from_command_line  # noqa: E402 - Django must be set up first
from django.core.wsgi import get_wsgi_application  # noqa: E402

from bandstand import health  # noqa: E402

log = logging.getLogger("echo")


def echo(request: HttpRequest) -> JsonResponse:
    context = current()
    log.info("echoing")
    return JsonResponse(
        {
            "correlation_id": context.correlation_id,
            "remaining": context.remaining(),
            "client_ip": client_ip(request),
            "headers": {name: value for name, value in request.META.items() if name.startswith("HTTP_")},
        }
    )


def wait(_request: HttpRequest) -> HttpResponse:
    """Answer when the file appears that RELEASE names."""
    file = Path(os.environ["RELEASE"])
    file.with_suffix(".waiting").touch()
    until(file.exists, "the release")
    return HttpResponse("released", content_type="text/plain")


def sigterm(_request: HttpRequest) -> HttpResponse:
    """Say who hears SIGTERM."""
    return HttpResponse(getattr(signal.getsignal(signal.SIGTERM), "__qualname__", ""), content_type="text/plain")


urlpatterns = [
    path("", include("bandstand.health.urls")),
    path("wait/", wait),
    path("sigterm/", sigterm),
    path("echo/<path:rest>", lambda request, rest: echo(request)),
    path("echo/", echo),
]
health.drain_on_sigterm()
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
