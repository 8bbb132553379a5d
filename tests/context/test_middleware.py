import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path, re_path
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings

from bandstand.context import (
    REGISTRY,
    JsonFormatter,
    RequestTrackingMiddleware,
    bind,
    bound,
    current,
    is_correlation_id,
    update,
)
from tests.context.test_headers import FORGED

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def echo(request: HttpRequest, name: str = "") -> HttpResponse:
    context = current()
    return HttpResponse(f"{context.correlation_id} {context.trace.trace_id}")


async def echo_async(request: HttpRequest) -> HttpResponse:
    before = current()
    await asyncio.sleep(0)
    assert current() == before
    return HttpResponse(f"{before.correlation_id} {before.trace.trace_id}")


def sign_in(request: HttpRequest) -> HttpResponse:
    update(user="u1")
    return HttpResponse(current().correlation_id)


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("no")


urlpatterns = [
    path("echo/<str:name>/", echo),
    path("async/", echo_async),
    path("sign-in/", sign_in),
    path("fail/", fail),
    re_path(r"^things/(?P<pk>[^/.]+)/$", lambda request, pk: HttpResponse(status=204)),
    path("health/live/", echo),
]


@pytest.fixture(autouse=True)
def _service(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["bandstand.context.RequestTrackingMiddleware", "django.middleware.common.CommonMiddleware"]


def track(view: Callable[[HttpRequest], Any], request: HttpRequest | None = None, **headers: str) -> Any:
    return RequestTrackingMiddleware(view)(request or RequestFactory().get("/", headers=headers))


# --- binding and answering --------------------------------------------------------------------------------------


def test_the_view_runs_with_the_context_of_the_request(client: Client) -> None:
    """Correlation id and trace of the caller are bound in the view, echoed, and unbound after."""
    response = client.get("/echo/a/", headers={"X-Correlation-ID": "abcdefgh", "traceparent": TRACEPARENT})
    assert response.content.decode() == f"abcdefgh {TRACEPARENT.split('-')[1]}"
    assert response.headers["X-Correlation-ID"] == "abcdefgh"
    assert bound() is None


def test_an_async_view_does_too(async_client: AsyncClient) -> None:
    """The same holds in an async view, across its waits, with no thread in between."""

    async def ask() -> Any:
        return await async_client.get("/async/", headers={"X-Correlation-ID": "abcdefgh", "traceparent": TRACEPARENT})

    response = asyncio.run(ask())
    assert response.content.decode() == f"abcdefgh {TRACEPARENT.split('-')[1]}"
    assert response.headers["X-Correlation-ID"] == "abcdefgh"


def test_a_sync_view_under_asgi_does_too(async_client: AsyncClient, request_log: Any) -> None:
    """Django runs it in a thread: the context goes there, and what it learned comes back for the log line."""

    async def ask(number: int) -> str:
        response = await async_client.get("/sign-in/", headers={"X-Correlation-ID": f"request-{number}"})
        return str(response.content.decode())

    async def main() -> list[str]:
        return await asyncio.gather(*(ask(number) for number in range(5)))

    sent = [f"request-{number}" for number in range(5)]
    assert asyncio.run(main()) == sent
    assert sorted((line["correlation_id"], line["user"]) for line in request_log.lines) == [
        (name, "u1") for name in sent
    ]


def test_it_is_sync_or_async_as_what_it_wraps() -> None:
    """Django needs no thread between it and its neighbours."""

    async def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(RequestTrackingMiddleware(answer))
    assert not iscoroutinefunction(RequestTrackingMiddleware(lambda request: HttpResponse()))
    assert RequestTrackingMiddleware.sync_capable  # type: ignore[attr-defined]
    assert RequestTrackingMiddleware.async_capable  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", FORGED)
def test_a_forged_correlation_id_is_neither_echoed_nor_logged(value: str, request_log: Any) -> None:
    """The answer, the view and the log line have the same new id, and the forged text is in none of them."""
    response = track(echo, **{"X-Correlation-ID": value})
    made = response.headers["X-Correlation-ID"]
    assert is_correlation_id(made)
    assert response.content.decode().split()[0] == made == request_log.last["correlation_id"]
    assert value == "" or value not in json.dumps(request_log.last, ensure_ascii=False)


def test_concurrent_async_requests_do_not_see_each_other() -> None:
    """Twenty requests that wait at the same time on one thread keep each its own context."""
    waiting = asyncio.Event()

    async def answer(request: HttpRequest) -> HttpResponse:
        mine = current().correlation_id
        update(user=mine)
        await waiting.wait()
        return HttpResponse(f"{mine} {current().correlation_id} {current().user}")

    async def main() -> None:
        requests = [RequestFactory().get("/", headers={"X-Correlation-ID": f"request-{n}"}) for n in range(20)]
        tasks = [asyncio.ensure_future(RequestTrackingMiddleware(answer)(request)) for request in requests]
        await asyncio.sleep(0)
        waiting.set()
        for number, response in enumerate(await asyncio.gather(*tasks)):
            assert response.content.decode() == " ".join([f"request-{number}"] * 3)
        assert bound() is None

    asyncio.run(main())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_unbinds_and_is_told(error: type[BaseException], request_log: Any) -> None:
    """A view that raises leaves no context behind, and its request is in the log as a 500."""

    def view(request: HttpRequest) -> HttpResponse:
        raise error

    with pytest.raises(error):
        track(view)
    assert bound() is None
    assert (request_log.last["status"], request_log.last["level"]) == (500, "ERROR")


def test_a_client_that_does_not_wait_is_told_as_499(request_log: Any) -> None:
    """Under ASGI a request is cancelled when its client leaves; that is no fault of the service."""

    async def answer(request: HttpRequest) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        task = asyncio.ensure_future(RequestTrackingMiddleware(answer)(RequestFactory().get("/")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (request_log.last["status"], request_log.last["level"]) == (499, "INFO")


def test_time_that_is_over_on_arrival_is_504(request_log: Any) -> None:
    """Work that nobody waits for is not begun; the answer is a problem document."""

    def view(request: HttpRequest) -> HttpResponse:
        raise AssertionError("the work was begun")

    response = track(view, **{"X-Request-Timeout-Ms": "0", "X-Correlation-ID": "abcdefgh"})
    assert response.status_code == 504
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert (problem["status"], problem["code"], problem["correlation_id"]) == (504, "deadline_exceeded", "abcdefgh")
    assert (problem["service"], problem["instance"]) == ("test-service", "/")
    assert request_log.last["status"] == 504


def test_time_that_is_over_is_504_for_async_too() -> None:
    """The refusal does not await the view."""

    async def answer(request: HttpRequest) -> HttpResponse:
        raise AssertionError("the work was begun")

    request = RequestFactory().get("/", headers={"X-Request-Timeout-Ms": "0"})
    assert asyncio.run(RequestTrackingMiddleware(answer)(request)).status_code == 504


def test_time_that_is_left_is_bound() -> None:
    """The deadline is there for all calls below."""
    response = track(lambda request: HttpResponse(str(current().remaining())), **{"X-Request-Timeout-Ms": "5000"})
    assert 4 < float(response.content) <= 5


# --- streaming ----------------------------------------------------------------------------------------------------


def test_a_streamed_body_is_made_with_the_context() -> None:
    """Each piece of a body that is made later is made with the request's context, and between pieces none is bound."""

    def pieces() -> Iterator[str]:
        for _ in range(2):
            yield f"{current().correlation_id};"

    response = track(lambda request: StreamingHttpResponse(pieces()), **{"X-Correlation-ID": "abcdefgh"})
    body = iter(response)
    assert next(body) == b"abcdefgh;"
    assert bound() is None
    assert list(body) == [b"abcdefgh;"]


def test_an_async_streamed_body_too() -> None:
    """The same holds for async bodies."""

    async def pieces() -> AsyncIterator[str]:
        for _ in range(2):
            yield f"{current().correlation_id};"
            await asyncio.sleep(0)

    async def answer(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(pieces())

    async def main() -> list[bytes]:
        request = RequestFactory().get("/", headers={"X-Correlation-ID": "abcdefgh"})
        response = await RequestTrackingMiddleware(answer)(request)
        made = []
        async for piece in response:
            made.append(piece)
            assert bound() is None
        return made

    assert asyncio.run(main()) == [b"abcdefgh;"] * 2


def test_a_file_is_left_to_the_server() -> None:
    """A file response keeps its file, so that servers may send it without copying."""
    import io

    file = io.BytesIO(b"content")
    response = cast("FileResponse", track(lambda request: FileResponse(file)))
    assert response.file_to_stream is file
    assert b"".join(response) == b"content"  # type: ignore[arg-type]


# --- the log line -------------------------------------------------------------------------------------------------


def test_one_line_for_each_request(client: Client, request_log: Any) -> None:
    """The line has the fields of the design and nothing of the query string."""
    response = client.post(
        "/echo/a/?token=hunter2", headers={"X-Correlation-ID": "abcdefgh", "traceparent": TRACEPARENT}
    )
    [line] = request_log.lines
    assert line.pop("duration_ms") > 0
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "bandstand.request",
        "message": "request",
        "service": "test-service",
        "process": "web",
        "correlation_id": "abcdefgh",
        "trace_id": TRACEPARENT.split("-")[1],
        "method": "POST",
        "path": "/echo/a/",
        "route": "/echo/<str:name>/",
        "status": response.status_code,
        "caller": None,
        "user": None,
    }


def test_a_path_cannot_forge_a_line(client: Client, request_log: Any) -> None:
    """Line feeds and terminal sequences in a path are escaped, and a long path is cut."""
    client.get("/%0a%7b%22level%22:%22ERROR%22%7d%1b[2J")
    assert request_log.last["path"] == '/\n{"level":"ERROR"}\x1b[2J'
    client.get("/" + "x" * 10_000)
    assert len(request_log.last["path"]) == 2048
    assert request_log.last["route"] == "unmatched"


def test_routes_of_routers_are_readable(client: Client, request_log: Any) -> None:
    """A regular expression is named as people would write the path."""
    client.get("/things/5/")
    assert request_log.last["route"] == "/things/<pk>/"


def test_a_failure_is_an_error(request_log: Any) -> None:
    """A 500 that Django answers for a view is a line of level ERROR."""
    assert Client(raise_request_exception=False).get("/fail/").status_code == 500
    assert (request_log.last["level"], request_log.last["route"]) == ("ERROR", "/fail/")


def test_probes_are_quiet(client: Client, request_log: Any) -> None:
    """What is asked each second by machines is not told, unless one wants to see everything."""
    client.get("/health/live/")
    assert request_log.lines == []
    logging.getLogger("bandstand.request").setLevel(logging.DEBUG)
    client.get("/health/live/")
    assert request_log.last["level"] == "DEBUG"


def test_caller_and_user_are_told_once_verified(request_log: Any) -> None:
    """What inner code learned about the caller, by update() or on the request, is in the line."""

    def updates(request: HttpRequest) -> HttpResponse:
        update(service="order-service", user="u1")
        return HttpResponse()

    def marks(request: HttpRequest) -> HttpResponse:
        request.service = "cart-service"  # type: ignore[attr-defined]
        request.user = SimpleNamespace(is_authenticated=True, pk=7)  # type: ignore[assignment]
        with bind(current().replace(service="cart-service")):
            return HttpResponse()

    track(updates)
    assert (request_log.last["caller"], request_log.last["user"]) == ("order-service", "u1")
    track(marks)
    assert (request_log.last["caller"], request_log.last["user"]) == ("cart-service", "7")


def test_an_anonymous_user_is_none(request_log: Any) -> None:
    """Who is not signed in has no id."""
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(is_authenticated=False, pk=None)  # type: ignore[assignment]
    track(lambda request: HttpResponse(), request)
    assert request_log.last["user"] is None


def test_a_lazy_user_is_not_looked_up(request_log: Any) -> None:
    """The log line never costs a query: a user whom no view asked for stays unasked for."""

    def look_up() -> object:
        raise AssertionError("looked up")

    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(look_up)  # type: ignore[assignment]
    track(lambda request: HttpResponse(), request)
    assert request_log.last["user"] is None
    request._cached_user = SimpleNamespace(is_authenticated=True, pk=8)  # type: ignore[attr-defined]
    track(lambda request: HttpResponse(), request)
    assert request_log.last["user"] == "8"


def test_lines_that_django_writes_afterwards_have_the_correlation_id(client: Client) -> None:
    """Django tells of a 404 when all middleware is through; that line too belongs to its request."""
    lines: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(json.loads(JsonFormatter().format(record)))  # type: ignore[method-assign]
    logger = logging.getLogger("django.request")
    logger.addHandler(handler)
    try:
        client.get("/nowhere/", headers={"X-Correlation-ID": "abcdefgh"})
    finally:
        logger.removeHandler(handler)
    [line] = lines
    assert (line["message"], line["correlation_id"]) == ("Not Found: /nowhere/", "abcdefgh")
    assert "request" not in line


# --- the metric ---------------------------------------------------------------------------------------------------


def observed(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("bandstand_request_seconds_count", labels) or 0.0


def test_each_request_is_observed(client: Client) -> None:
    """The histogram counts by method, route and status."""
    before = observed("GET", "/echo/<str:name>/", 200)
    client.get("/echo/a/")
    client.get("/echo/b/")
    assert observed("GET", "/echo/<str:name>/", 200) == before + 2


def test_strangers_cannot_make_new_series(client: Client) -> None:
    """Unknown paths and invented methods share one label each, so that memory does not grow with them."""
    before = observed("OTHER", "unmatched", 404)
    for number in range(5):
        client.generic(f"BREW{number}", f"/nowhere/{number}/")
    assert observed("OTHER", "unmatched", 404) == before + 5


# --- headers with underscores --------------------------------------------------------------------------------------


def test_asgi_drops_names_with_underscores() -> None:
    """Under ASGI `X_Correlation_ID` and `X_Request_Timeout_Ms` do not reach the context."""
    from django.core.handlers.asgi import ASGIRequest

    headers = [(b"x_correlation_id", b"abcdefgh"), (b"x_request_timeout_ms", b"0"), (b"host", b"testserver")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    seen: Callable[[HttpRequest], Awaitable[HttpResponse]]

    async def seen(request: HttpRequest) -> HttpResponse:
        return HttpResponse(current().correlation_id)

    import io

    response = asyncio.run(RequestTrackingMiddleware(seen)(ASGIRequest(scope, io.BytesIO())))
    assert response.status_code == 200
    assert response.content != b"abcdefgh"
