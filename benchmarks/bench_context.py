"""The cost of RequestTrackingMiddleware for a request, beside the separate packages that do parts of the same.

The middleware does correlation id, trace, deadline, one JSON log line (written to the null device) and a histogram.
Peers are measured when they are installed (`pip install django-guid django-structlog django-prometheus`); they stand in
front of the same view with the same request, structlog as its pages on performance recommend: loggers that are cached
and filter by level. All take turns in short rounds; figures are medians of the rounds. Takes about 20 s.
"""

import importlib.util
import logging
import logging.config
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from report import Report, at_most, parser, reading

NULL = Path(os.devnull)
LIMIT = at_most(19)  # µs: the upper end of what the design aims at
ROUNDS, NUMBER = 50, 2_000
QUICK = 3, 20

WITHOUT_LOG_LINE = "context.request_without_log_line"
COMPARED = ("django_guid", "django_structlog", "django_prometheus")
PEERS = [name for name in COMPARED if importlib.util.find_spec(name)]

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
        "loggers": {"django_guid": {"level": "WARNING"}},  # it logs a line of its own for each request
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
    """The part of Django's resolver match that middleware reads."""

    route = "api/v1/users/<uuid:pk>/"
    view_name = "user-detail"
    func = staticmethod(lambda _request: RESPONSE)


def view(_request: HttpRequest) -> HttpResponse:
    return RESPONSE


def request(headers: dict[str, str]) -> HttpRequest:
    made = RequestFactory().get("/api/v1/users/0190/", headers=headers)
    made.resolver_match = Match()  # type: ignore[assignment]
    return made


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
        wrapper_class=log.make_filtering_bound_logger(logging.INFO),
        logger_factory=log.WriteLoggerFactory(file=NULL.open("w")),
        cache_logger_on_first_use=True,
    )
    return middlewares.RequestMiddleware(view)


def prometheus() -> Callable[[HttpRequest], Any]:
    middleware = importlib.import_module("django_prometheus.middleware")
    after = middleware.PrometheusAfterMiddleware(view)
    return middleware.PrometheusBeforeMiddleware(after)


def ways() -> dict[str, Callable[[], Any]]:
    """Return what is measured, by the name of its row."""
    full, bare, track = request(HEADERS), request({}), RequestTrackingMiddleware(view)
    context = from_headers(HEADERS)
    return {
        "context.request": lambda: track(full),
        "context.request_without_headers": lambda: track(bare),
        WITHOUT_LOG_LINE: lambda: track(full),
        "context.read": lambda: from_environ(full.META),
        "context.send": lambda: to_headers(context),
        **{f"context.peer.{name}": lambda call=call: call(full) for name, call in peers().items()},
    }


class Rounds:
    """Microseconds of one call in each round, by the clock and of processor time."""

    def __init__(self, way: Callable[[], Any], level: int) -> None:
        self._way, self._level = way, level
        self.times: list[float] = []
        self.processor: list[float] = []

    def run(self, number: int) -> None:
        """Call it that often."""
        logging.getLogger("bandstand.request").setLevel(self._level)
        way, begun = self._way, reading()
        for _ in range(number):
            way()
        cost = reading() - begun
        self.times.append(cost.seconds / number * 1e6)
        self.processor.append(cost.processor / number)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    rounds, number = QUICK if report.quick else (ROUNDS, NUMBER)
    found = {
        name: Rounds(way, logging.ERROR if name == WITHOUT_LOG_LINE else logging.INFO) for name, way in ways().items()
    }
    for _ in range(rounds):
        for each in found.values():
            each.run(number)
    ours = found["context.request"].times
    for name, each in found.items():
        report.add(
            name,
            each.times,
            "µs",
            target=LIMIT if name == "context.request" else None,
            processor=statistics.median(each.processor),
            to=None if name == "context.request" else ("context.request", ours),
        )
    together = [each.times for name, each in found.items() if name.startswith("context.peer.")]
    if together:
        total = [sum(times) for times in zip(*together, strict=True)]
        report.add("context.peer.together", total, "µs", to=("context.request", ours))
    for name in COMPARED:
        if name not in PEERS:
            report.leave_out(f"{name.replace('_', '-')}: it is not installed")
    report.end()


if __name__ == "__main__":
    main()
