"""RequestTrackingMiddleware: binds the context of a request, says it back, and tells of the request in one line."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.utils.decorators import sync_and_async_middleware

from bandstand.conf import wire
from bandstand.context.binding import bind, variable
from bandstand.context.headers import from_environ
from bandstand.context.metrics import histogram
from bandstand.context.problem import problem_response
from bandstand.context.values import Context

__all__ = ["RequestTrackingMiddleware"]

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_log: Final = logging.getLogger("bandstand.request")
_seconds: Final = histogram(
    "bandstand_request_seconds", "Time to answer a request, in seconds.", ("method", "route", "status")
)
# `labels()` of the Prometheus client takes a lock and builds strings each time.
_observers: Final[dict[tuple[str, str, int], Callable[[float], None]]] = {}

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNMATCHED: Final = "unmatched"
# Asked every second by probes and scrapers: told only to those who want to see everything.
_PROBES: Final = frozenset({"/health/", "/health/live/", "/health/ready/", "/metrics"})


@sync_and_async_middleware
def RequestTrackingMiddleware(get_response: Any) -> Any:  # noqa: N802 - Django names middleware as classes
    """Bind the request's :class:`Context`, echo ``X-Correlation-ID``, log one line and observe the time.

    Put it first in ``MIDDLEWARE``. A request whose caller's time is over on arrival is answered 504 and not begun.
    """
    return _async_tracking(get_response) if iscoroutinefunction(get_response) else _sync_tracking(get_response)


def _sync_tracking(get_response: Handler) -> Handler:
    def track(request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        context = from_environ(request.META)
        token = variable.set(context)
        status = 500
        try:
            response = _refused(request) if context.expired() else get_response(request)
            status = response.status_code
            _echo(response, context)
            return response
        finally:
            _tell(request, status, perf_counter() - started)
            variable.reset(token)

    return track


def _async_tracking(get_response: AsyncHandler) -> AsyncHandler:
    async def track(request: HttpRequest) -> HttpResponseBase:
        started = perf_counter()
        context = from_environ(request.META)
        token = variable.set(context)
        status = 500
        try:
            response = _refused(request) if context.expired() else await get_response(request)
            status = response.status_code
            _echo(response, context)
            return response
        finally:
            _tell(request, status, perf_counter() - started)
            variable.reset(token)

    return track


def _refused(request: HttpRequest) -> HttpResponse:
    """Nobody waits for the answer any more, so the work is not begun."""
    detail = "The time that the caller gave for this request was over when it arrived."
    return problem_response(504, "deadline_exceeded", detail, instance=request.path)


def _echo(response: HttpResponseBase, context: Context) -> None:
    response.headers[wire.CORRELATION_ID] = context.correlation_id
    if response.streaming:
        _keep_bound(cast("StreamingHttpResponse", response), context)


def _tell(request: HttpRequest, status: int, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    match = request.resolver_match
    route = match.route if match else _UNMATCHED
    _observe(str(method), route, status, seconds)
    level = _level(request.path, status)
    if _log.isEnabledFor(level):
        _log.log(level, "request", extra=_line(request, route, status, seconds))


def _level(path: str, status: int) -> int:
    if path in _PROBES:
        return logging.DEBUG
    return logging.ERROR if status >= 500 else logging.INFO


def _line(request: HttpRequest, route: str, status: int, seconds: float) -> dict[str, object]:
    bound = variable.get()
    return {
        "method": request.method,
        "path": request.path,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "caller": (bound and bound.service) or request.__dict__.get("service"),
        "user": (bound and bound.user) or _user(request),
    }


def _user(request: HttpRequest) -> str | None:
    """The id of the user, if anything looked: to evaluate Django's lazy ``request.user`` here would cost a query."""
    user = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    if user is None or type(user).__name__ == "SimpleLazyObject" or not getattr(user, "is_authenticated", False):
        return None
    return str(user.pk)


def _observe(method: str, route: str, status: int, seconds: float) -> None:
    key = (method, route, status)
    observe = _observers.get(key)
    if observe is None:
        observe = _observers[key] = _seconds.labels(method, route, str(status)).observe
    observe(seconds)


def _keep_bound(response: StreamingHttpResponse, context: Context) -> None:
    """A streamed body is made after the middleware has returned; bind the context for each piece of it."""
    if getattr(response, "file_to_stream", None) is not None:
        return  # a file is sent by the server, no code of the application runs
    if response.is_async:
        response.streaming_content = _async_pieces(cast("AsyncIterator[bytes]", response.streaming_content), context)
    else:
        response.streaming_content = _pieces(cast("Iterator[bytes]", response.streaming_content), context)


def _pieces(content: Iterator[bytes], context: Context) -> Iterator[bytes]:
    while True:
        with bind(context):
            try:
                piece = next(content)
            except StopIteration:
                return
        yield piece


async def _async_pieces(content: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    while True:
        with bind(context):
            try:
                piece = await anext(content)
            except StopAsyncIteration:
                return
        yield piece
