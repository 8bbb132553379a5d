import asyncio
import io
import json
from typing import Any

import pytest
from django.core.signals import request_started
from django.test import AsyncClient
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.api import charsets

from .test_problems import problem_in

JSON = "application/json"


def send(api: APIClient, body: bytes, path: str = "/api/v1/echo/", content_type: str = JSON, **extra: Any) -> Any:
    return api.generic("POST", path, body, content_type=content_type, **extra)


def test_an_ordinary_request_passes(api: APIClient) -> None:
    """JSON with a charset that says what JSON is anyway."""
    for content_type in (JSON, "application/json; charset=utf-8", 'application/json; charset="UTF-8"'):
        assert send(api, '{"a": "ü"}'.encode(), content_type=content_type).json() == {"data": {"a": "ü"}}


@pytest.mark.parametrize("view", ["echo", "plain"], ids=["rest-framework", "django"])
@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b'"' + b"x" * 1024 * 1024 + b'"', JSON, 413, "body_too_large"),
        (b"x" * 2_000_000, "application/octet-stream", 413, "body_too_large"),
        (b"[" * 100_000, JSON, 400, "too_deep"),
        (b"[" * 65 + b"]" * 65, "application/merge-patch+json", 400, "too_deep"),
        (b'{"a":"\x00"}', JSON, 400, "forbidden_character"),
        (b"{}", "application/json; charset=utf-16", 415, "unsupported_charset"),
        (b"{}", "application/json; charset=rot13", 415, "unsupported_charset"),
        (b"{}", "application/json; charset=nonsense", 415, "unsupported_charset"),
        (b"a=1", "application/x-www-form-urlencoded; charset=utf-7", 415, "unsupported_charset"),
    ],
)
def test_what_no_view_should_see(  # noqa: PLR0917 - a table
    api: APIClient, view: str, body: bytes, content_type: str, status: int, code: str
) -> None:
    """It is refused before any view, whichever framework the view is written in."""
    assert problem_in(send(api, body, f"/api/v1/{view}/", content_type), status)["code"] == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":NaN}', "malformed_json"),
        (b'"\\u0000"', "forbidden_character"),
        (b'"\\ud800"', "forbidden_character"),
        (b"9" * 5000, "number_out_of_range"),
        (b'"\xff"', "not_utf8"),
        (b"{", "malformed_json"),
    ],
)
def test_what_the_parser_refuses_is_a_problem_with_its_reason(api: APIClient, body: bytes, code: str) -> None:
    """400 with the code, and a sentence."""
    problem = problem_in(send(api, body), 400)
    assert problem["code"] == code
    assert len(problem["detail"].split()) > 3


def test_limits_come_from_the_settings(api: APIClient, settings: Settings) -> None:
    """A service may set its own."""
    settings.BANDSTAND = {**settings.BANDSTAND, "API": {"MAX_BODY_BYTES": 100, "MAX_JSON_DEPTH": 2}}
    problem_in(send(api, b'"' + b"x" * 100 + b'"'), 413)
    problem_in(send(api, b"[[[]]]"), 400)
    assert send(api, b"[[]]").status_code == 200


def test_the_parser_has_the_limits_too(api: APIClient, settings: Settings) -> None:
    """A service without the middleware is not without limits."""
    settings.MIDDLEWARE = ["bandstand.api.ProblemDetailsMiddleware"]
    assert problem_in(send(api, b'"' + b"x" * 1024 * 1024 + b'"'), 413)["code"] == "body_too_large"
    assert problem_in(send(api, b"[" * 100_000), 400)["code"] == "too_deep"


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, deflate"])
def test_compressed_bodies_are_refused(api: APIClient, encoding: str) -> None:
    """A kilobyte may become a gigabyte."""
    response = send(api, b"{}", headers={"Content-Encoding": encoding})
    assert problem_in(response, 415)["code"] == "unsupported_encoding"


@pytest.mark.parametrize(
    "query",
    ["a=%00", "%00", "a=b%00c", "page=" + "9" * 5000, "page=" + "%39" * 1200, "a=" + "1" * 1001],
    ids=lambda value: value[:12],
)
@pytest.mark.parametrize("path", ["/api/v1/reading/", "/api/v1/plain/"])
def test_queries_that_break_databases(api: APIClient, path: str, query: str) -> None:
    """NUL and numbers of thousands of digits: 400, for every view."""
    problem_in(api.get(f"{path}?{query}"), 400)


@pytest.mark.parametrize(
    "query", ["a=%ff", "a=%ed%a0%80", "a=%zz", "&&&=&", "a=" + "x" * 3000, "a[]=1&a[]=2", "%", "a=%e2%80%ae", "=" * 500]
)
@pytest.mark.parametrize("path", ["/api/v1/reading/", "/api/v1/plain/"])
def test_queries_that_are_only_odd(api: APIClient, path: str, query: str) -> None:
    """They are answered."""
    assert api.get(f"{path}?{query}").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/%00/", "/api/v1/fail/a%00b/", "/api/v1/groups/%00/"])
def test_nul_in_the_path(api: APIClient, path: str) -> None:
    """No view and no database sees it."""
    assert problem_in(api.get(path), 400)["code"] == "forbidden_character"


@pytest.mark.parametrize("charset", ["rot13", "hex", "base64", "utf-16", "idna", "x" * 1000, "punycode"])
def test_a_charset_without_a_body_is_refused(api: APIClient, charset: str) -> None:
    """Django decodes the query with it while it makes the request, where no middleware can catch what goes wrong."""
    response = api.get("/api/v1/plain/?a=1", headers={"Content-Type": f"text/plain; charset={charset}"})
    assert problem_in(response, 415)["code"] == "unsupported_charset"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain; charset=utf-8", "text/plain;CHARSET = UTF-8 ; x=1"]
)
def test_a_thousand_fields_in_a_query(api: APIClient, content_type: str) -> None:
    """Django refuses them when it reads the query, which a charset makes it do too early."""
    query = "&".join(f"f{number}=1" for number in range(1001))
    problem_in(api.get(f"/api/v1/plain/?{query}", headers={"Content-Type": content_type}), 400)


def test_tooth_without_the_charset_taken_out_the_request_cannot_be_made(api: APIClient) -> None:
    """Django raises before any middleware."""
    request_started.disconnect(dispatch_uid="bandstand.api.charsets")
    try:
        with pytest.raises(LookupError):
            api.get("/api/v1/plain/?a=1", headers={"Content-Type": "text/plain; charset=rot13"})
    finally:
        charsets.connect()


@pytest.mark.parametrize("length", ["abc", "-1", "1e3", "٣"])
def test_a_length_that_is_no_number(api: APIClient, length: str) -> None:
    """Servers refuse it; where one does not, we do."""
    response = send(api, b"{}", CONTENT_LENGTH=length)
    problem_in(response, 400)


def chunked(api: APIClient, body: bytes, *, terminated: bool = True) -> Any:
    """A body without Content-Length, as servers pass it on that read chunks."""
    environ = {
        "CONTENT_TYPE": JSON,
        "CONTENT_LENGTH": "",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": terminated,
    }
    return api.generic("POST", "/api/v1/echo/", b"", content_type=JSON, **environ)


def test_a_body_in_chunks_is_read(api: APIClient) -> None:
    """Django alone would take it for empty."""
    assert chunked(api, b'{"a": 1}').json() == {"data": {"a": 1}}


def test_tooth_without_the_middleware_the_body_vanishes(api: APIClient, settings: Settings) -> None:
    """What the protection is for."""
    settings.MIDDLEWARE = []
    assert chunked(api, b'{"a": 1}').json() == {"data": {}}


def test_a_body_in_chunks_has_the_same_limit(api: APIClient) -> None:
    """Of an endless one no more than four times the limit is read, and no more than the limit is kept."""

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 1024 * 1024 + 1
            self.given += size
            return b"x" * size

    endless = Endless()
    environ = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    response = api.generic("POST", "/api/v1/echo/", b"", content_type=JSON, **environ, **{"wsgi.input": endless})
    problem_in(response, 413)
    assert endless.given <= 4 * 1024 * 1024 + 1


def test_a_server_that_does_not_read_chunks(api: APIClient) -> None:
    """There the length is required."""
    assert problem_in(chunked(api, b"{}", terminated=False), 411)["code"] == "length_required"


def test_a_body_that_ends_early(api: APIClient) -> None:
    """A connection that breaks is the client's affair, not an error of ours."""

    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("connection reset")

    response = api.generic(
        "POST", "/api/v1/echo/", b"", content_type=JSON, **{"CONTENT_LENGTH": "10", "wsgi.input": Broken()}
    )
    assert problem_in(response, 400)["code"] == "body_unreadable"


async def _ask_async() -> list[Any]:
    client = AsyncClient(raise_request_exception=False)
    return [
        await client.post("/api/v1/plain/", b"[" * 1000, content_type=JSON),
        await client.post("/api/v1/plain/", b"x" * 1_100_000, content_type="text/plain"),
        await client.post("/api/v1/plain/", b"{}", content_type=JSON),
        await client.get("/api/v1/plain/?a=%00"),
        await client.generic("POST", "/api/v1/plain/?a=1", b"{}", content_type="application/json; charset=rot13"),
        await client.generic("POST", "/api/v1/plain/?a=1", b"{}", content_type="application/json; charset=utf-8"),
    ]


def test_the_same_limits_under_asgi() -> None:
    """The middleware works in both worlds."""
    deep, large, fine, nul, charset, utf8 = asyncio.run(_ask_async())
    problem_in(deep, 400), problem_in(large, 413), problem_in(nul, 400), problem_in(charset, 415)
    assert fine.status_code == utf8.status_code == 200


def test_a_large_body_is_not_read(api: APIClient) -> None:
    """A body that is refused by its length is never taken from the connection."""

    class Untouched(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("read")

    environ = {"CONTENT_LENGTH": "20000000", "wsgi.input": Untouched()}
    problem_in(api.generic("POST", "/api/v1/echo/", b"", content_type=JSON, **environ), 413)


def test_answers_are_json_with_decimals_as_texts() -> None:
    """Lazy texts, decimals, dates and kinds of str are written; an object is an error of the program."""
    from collections import OrderedDict
    from decimal import Decimal

    from django.utils.functional import lazy
    from django.utils.safestring import mark_safe

    from bandstand.api import JSONRenderer

    render = JSONRenderer().render
    data = OrderedDict(a=Decimal("19.90"), b=lazy(lambda: "late", str)(), c=mark_safe("<b>"), d=(x for x in (1, 2)))
    assert json.loads(render(data)) == {"a": "19.90", "b": "late", "c": "<b>", "d": [1, 2]}
    assert render(None) == b""
    with pytest.raises(TypeError, match="can't be written as JSON"):
        render(object())
