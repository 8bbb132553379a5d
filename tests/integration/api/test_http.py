import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cache.server import Valkey
from tests.integration.servers import Postgres
from tests.waiting import until

from .corpus import BODIES, HEADERS, PATHS, QUERIES
from .web import Answer, Web, running

pytestmark = pytest.mark.integration

LEAKS = (
    "Traceback",
    "psycopg",
    "postgresql://",
    "127.0.0.1:",
    "django.",
    "rest_framework",
    "SELECT ",
    "INSERT ",
    "/src/",
)


def is_problem(answer: Answer) -> bool:
    return answer.headers.get("content-type") == "application/problem+json" and answer.json()["status"] == answer.status


def assert_told_properly(answer: Answer, asked: Any) -> None:
    """No error of ours; each refusal is a problem; nothing of the inside is shown."""
    assert answer.status < 500, (asked, answer)
    if answer.status >= 400 and answer.body:
        assert is_problem(answer), (asked, answer)
        text = answer.body.decode()
        assert not [leak for leak in LEAKS if leak in text], (asked, text)


@pytest.mark.parametrize("path", PATHS)
def test_no_body_is_an_error_of_ours(web: Web, path: str) -> None:
    """A corpus of hostile bodies, on each route that takes one, against PostgreSQL."""
    for method in ("POST", "PUT", "PATCH"):
        for body in BODIES:
            assert_told_properly(web.ask(method, path, body, {"Idempotency-Key": "k"}), (method, path, body[:60]))


@pytest.mark.parametrize("path", PATHS)
def test_no_query_is_an_error_of_ours(web: Web, path: str) -> None:
    """Neither a filter, a page nor a cursor."""
    for query in QUERIES:
        assert_told_properly(web.ask("GET", f"{path}?{query}"), (path, query[:60]))


@pytest.mark.parametrize("path", ["/api/v1/reading/", "/api/v1/query/?a=1", "/api/v1/groups/?search=x"])
def test_no_header_is_an_error_of_ours(web: Web, path: str) -> None:
    """Charsets that Django decodes with before any middleware, encodings, lengths, content types."""
    for headers in HEADERS:
        for method, body in (("GET", None), ("POST", b"{}")):
            assert_told_properly(web.ask(method, path, body, dict(headers)), (method, path, headers))


def test_the_corpus_is_large_enough() -> None:
    """At least two hundred entries."""
    assert len(BODIES) + len(QUERIES) + len(HEADERS) >= 200


@pytest.mark.parametrize("size", [1_048_577, 2_000_000, 4_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_is_told_so(web: Web, size: int, chunked: bool) -> None:
    """It gets its answer, and not a connection that breaks while it sends."""
    for _ in range(5):
        answer = web.ask("POST", "/api/v1/reading/", b"x" * size, chunked=chunked)
        assert answer.status == 413
        assert is_problem(answer)


def test_a_body_in_chunks_arrives(web: Web) -> None:
    """Without Content-Length, through the real server; with the same limits."""
    body = {"text": "x" * 50_000}
    answer = web.ask("POST", "/api/v1/reading/", body, chunked=True)
    assert answer.json() == {"data": body}
    assert web.ask("POST", "/api/v1/query/", body, chunked=True).json()["body"] == len(json.dumps(body))
    large = web.ask("POST", "/api/v1/reading/", b'"' + b"x" * 1_100_000 + b'"', chunked=True)
    assert large.status == 413
    assert is_problem(large)
    deep = web.ask("POST", "/api/v1/reading/", b"[" * 100_000, chunked=True)
    assert deep.status == 400


GET = b"GET /api/v1/reading/ HTTP/1.1\r\nConnection: close\r\n"
POST = b"POST /api/v1/reading/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        POST + b"Content-Length: abc\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET.replace(b"reading", b"%00") + b"Host: 127.0.0.1\r\n\r\n",
        GET.replace(b"reading", b"\xff\xfe") + b"Host: 127.0.0.1\r\n\r\n",
        GET + b"Host: evil.example\r\n\r\n",
        GET + b"Host: a b\r\n\r\n",
        GET + b"\r\n",
        GET + b"Host: 127.0.0.1\r\nContent-Type: text/plain; charset=rot13\r\n\r\n",
    ],
)
def test_broken_requests_on_the_wire(web: Web, sent: bytes) -> None:
    """Server and service together never answer 5xx, and live on."""
    received = web.raw(sent)
    assert not received.startswith(b"HTTP/1.1 5"), received
    assert web.ask("GET", "/api/v1/reading/").status == 200


def test_while_the_database_is_away(web: Web, postgres: Postgres) -> None:
    """503 with Retry-After and without a stack in the log; the process lives, and works again afterwards."""
    before = web.log.read_text().count("Traceback")
    postgres.kill()
    try:
        for _ in range(3):
            with ThreadPoolExecutor(8) as threads:
                for answer in threads.map(lambda _: web.ask("GET", "/api/v1/reading/"), range(8)):
                    assert is_problem(answer)
                    assert (answer.status, answer.json()["code"]) == (503, "database_unavailable")
                    assert answer.headers["retry-after"] == "1"
            assert web.ask("GET", "/health/live/").status == 200
    finally:
        postgres.start()
    until(lambda: web.ask("GET", "/api/v1/reading/").status == 200, "the service to find its database")
    assert web.log.read_text().count("Traceback") == before


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.close()


def test_limits_on_signing_in_over_processes(postgres: Postgres, valkey: Valkey, tmp_path: Path) -> None:
    """Two processes, one account: ten tries in all. Without the cache signing in is closed and reading open."""
    environment = {"DATABASE_URL": postgres.url(), "CACHE_URL": valkey.url()}
    with running(tmp_path / "first", **environment) as first, running(tmp_path / "second", **environment) as second:

        def sign_in(number: int) -> int:
            web = (first, second)[number % 2]
            return web.ask("POST", "/api/v1/sign-in/", {"email": "ada@example.com"}).status

        with ThreadPoolExecutor(16) as threads:
            statuses = Counter(threads.map(sign_in, range(100)))
        assert statuses == {200: 10, 429: 90}
        valkey.kill()
        answers = [first.ask("POST", "/api/v1/sign-in/", {"email": "bob@example.com"}) for _ in range(20)]
        assert {answer.status for answer in answers} == {503}
        assert all(answer.json()["code"] == "throttle_unavailable" for answer in answers)
        assert {first.ask("GET", "/api/v1/reading/").status for _ in range(20)} == {200}
