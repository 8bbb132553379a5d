"""What RequestTrackingMiddleware costs a request, beside the separate packages that do parts of the same.

The middleware does correlation id, trace, deadline, one JSON log line (written to the null device) and a histogram.
Peers are measured when they are installed (django-guid, django-structlog, django-prometheus); they stand in front of
the same view with the same request. Prints a table and one JSON object a line.
"""

import importlib.util
import json
import logging
import logging.config
import os
import platform
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

NULL = Path(os.devnull)
LIMIT = 19.0  # µs: the upper end of what the design aims at
ROUNDS, NUMBER = 9, 10_000

PEERS = [name for name in ("django_guid", "django_structlog", "django_prometheus") if importlib.util.find_spec(name)]

settings.configure(
    SECRET_KEY="benchmark",
    INSTALLED_APPS=PEERS,
    BANDSTAND={"SERVICE": "benchmark"},
    LOGGING={
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "bandstand.context.JsonFormatter"}},
        "handlers": {"null": {"class": "logging.FileHandler", "filename": str(NULL), "formatter": "json"}},
        "root": {"handlers": ["null"], "level": "INFO"},
        "loggers": {"django_guid": {"level": "WARNING"}},  # it tells of itself in each request
    },
)
import django  # noqa: E402 - after the settings

django.setup()

from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory  # noqa: E402

from bandstand.context import RequestTrackingMiddleware, from_headers, to_headers  # noqa: E402
from bandstand.context.headers import from_environ  # noqa: E402

HEADERS = {
    "X-Correlation-ID": "0af7651916cd43dd8448eb211c80319c",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "X-Request-Timeout-Ms": "9000",
}
RESPONSE = HttpResponse(b"{}", content_type="application/json")


class Match:
    """What Django's resolver leaves on a request, as far as middleware reads it."""

    route = "api/v1/users/<uuid:pk>/"
    view_name = "user-detail"
    func = staticmethod(lambda _request: RESPONSE)


def view(_request: HttpRequest) -> HttpResponse:
    return RESPONSE


def request(headers: dict[str, str]) -> HttpRequest:
    made = RequestFactory().get("/api/v1/users/0190/", headers=headers)
    made.resolver_match = Match()  # type: ignore[assignment]
    return made


def microseconds(function: Callable[[], Any]) -> float:
    """The best of several rounds: the others measure the neighbours on the machine."""
    return min(timeit.repeat(function, number=NUMBER, repeat=ROUNDS)) / NUMBER * 1e6


def peers() -> dict[str, Callable[[HttpRequest], Any]]:
    """The installed ones of the packages that one would otherwise combine."""
    makers = {"django_guid": guid, "django_structlog": structlog, "django_prometheus": prometheus}
    return {name: makers[name]() for name in PEERS}


def guid() -> Callable[[HttpRequest], Any]:
    middleware = importlib.import_module("django_guid.middleware")
    return middleware.guid_middleware(view)


def structlog() -> Callable[[HttpRequest], Any]:
    log = importlib.import_module("structlog")
    middlewares = importlib.import_module("django_structlog.middlewares")
    log.configure(
        processors=[
            log.contextvars.merge_contextvars,
            log.processors.add_log_level,
            log.processors.TimeStamper(fmt="iso"),
            log.processors.JSONRenderer(),
        ],
        logger_factory=log.WriteLoggerFactory(file=NULL.open("w")),
        cache_logger_on_first_use=True,
    )
    return middlewares.RequestMiddleware(view)


def prometheus() -> Callable[[HttpRequest], Any]:
    middleware = importlib.import_module("django_prometheus.middleware")
    after = middleware.PrometheusAfterMiddleware(view)
    return middleware.PrometheusBeforeMiddleware(after)


def main() -> None:
    """Measure, print, and say the machine."""
    full, bare = request(HEADERS), request({})
    track = RequestTrackingMiddleware(view)
    context = from_headers(HEADERS)
    quiet = logging.getLogger("bandstand.request")
    results = {
        "context.request": microseconds(lambda: track(full)),
        "context.request_without_headers": microseconds(lambda: track(bare)),
    }
    quiet.setLevel(logging.ERROR)
    results["context.request_without_log_line"] = microseconds(lambda: track(full))
    quiet.setLevel(logging.INFO)
    results["context.read"] = microseconds(lambda: from_environ(full.META))
    results["context.send"] = microseconds(lambda: to_headers(context))
    others = {f"peer.{name}": microseconds(lambda call=call: call(full)) for name, call in peers().items()}
    if others:
        results |= others | {"peer.together": sum(others.values())}
    print(
        f"machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    ours = results["context.request"]
    print(f"{'measure':36} {'µs':>8} {'to ours':>8}")
    for name, value in results.items():
        print(f"{name:36} {value:8.2f} {value / ours:8.2f}")
    for name, value in results.items():
        to, ratio = ("limit", value / LIMIT) if name == "context.request" else ("context.request", value / ours)
        said = {"name": name, "value": round(value, 2), "unit": "µs", "ratio_to": to, "ratio": round(ratio, 3)}
        print(json.dumps(said, ensure_ascii=False))


if __name__ == "__main__":
    main()
