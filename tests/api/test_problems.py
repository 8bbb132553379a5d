import json
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from django.http import HttpResponse
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from bandstand.api import FieldFault, problem_response
from bandstand.context import problem_response as problem_before_views
from bandstand.context import uri_reference
from bandstand.exceptions import CircuitOpen
from tests.api.service import FAILURES, SECRET

EXPECTED = {
    "http404": (404, "not_found", False),
    "denied": (403, "permission_denied", False),
    "too-big": (413, "body_too_large", False),
    "host": (400, "disallowed_host", False),
    "suspicious": (400, "bad_request", False),
    "operational": (503, "database_unavailable", True),
    "interface": (503, "database_unavailable", True),
    "integrity": (409, "conflict", False),
    "data": (400, "value_out_of_range", False),
    "validation": (400, "validation_failed", False),
    "deadline": (504, "deadline_exceeded", False),
    "unavailable": (503, "service_unavailable", True),
    "circuit": (503, "circuit_open", True),
    "too-many": (503, "too_many_calls", True),
    "timeout": (504, "service_timeout", False),
    "response": (502, "service_response_error", False),
    "no-instances": (503, "service_unavailable", True),
    "keys": (503, "key_set_unavailable", True),
    "token": (401, "invalid_token", False),
    "caller": (403, "caller_not_allowed", False),
    "broker": (503, "broker_unavailable", True),
    "bug": (500, "internal_error", False),
}


def problem_in(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    assert problem["status"] == status
    assert {"type", "title", "status", "detail", "code", "service", "correlation_id"} <= set(problem)
    assert problem["service"] == "test-service"
    return problem


@pytest.mark.parametrize("debug", [False, True], ids=["production", "debug"])
@pytest.mark.parametrize("view", ["fail", "plain/fail"], ids=["rest-framework", "django"])
@pytest.mark.parametrize("how", sorted(FAILURES))
def test_each_exception_is_the_problem_that_it_stands_for(
    api: APIClient, settings: Settings, how: str, view: str, debug: bool
) -> None:
    """Whatever raises it and whether DEBUG is on: status, code and Retry-After fit, and the text stays inside."""
    settings.DEBUG = debug
    status, code, again = EXPECTED[how]
    response = api.get(f"/api/v1/{view}/{how}/")
    problem = problem_in(response, status)
    assert problem["code"] == code
    assert problem["instance"] == f"/api/v1/{view}/{how}/"
    assert ("Retry-After" in response.headers) is again
    assert SECRET not in response.content.decode()
    assert "hunter2" not in response.content.decode()
    assert "Traceback" not in response.content.decode()


def test_the_table_above_is_complete() -> None:
    """No failure goes untested."""
    assert set(EXPECTED) == set(FAILURES)


def test_what_the_failed_call_knows_reaches_the_client(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the circuit closes again, and that trying again was tried in vain, is said to whoever asked."""
    error = CircuitOpen(SECRET, service="user-service")
    error.retry_after, error.do_not_retry = 2.3, True
    monkeypatch.setitem(FAILURES, "circuit", error)
    for view in ("fail", "plain/fail"):
        headers = api.get(f"/api/v1/{view}/circuit/").headers
        assert (headers["Retry-After"], headers["X-Do-Not-Retry"]) == ("3", "1")
        assert "X-Do-Not-Retry" not in api.get(f"/api/v1/{view}/unavailable/").headers


def test_a_bug_is_raised_in_tests(client: Any) -> None:
    """A fault of the program is no problem to be hidden: Django's test client sees the exception."""
    with pytest.raises(RuntimeError):
        client.get("/api/v1/fail/bug/")


def test_the_correlation_id_of_the_answer_is_in_the_problem(api: APIClient) -> None:
    """What a client reports finds the request in the logs."""
    response = api.get("/api/v1/nowhere/", headers={"X-Correlation-ID": "from-the-client-1"})
    assert problem_in(response, 404)["correlation_id"] == "from-the-client-1" == response.headers["X-Correlation-ID"]


PATHS = {
    "/api/v1/nowhere/": "/api/v1/nowhere/",
    "/api/v1/a-._~!$&'()*+,;=:@b/": "/api/v1/a-._~!$&'()*+,;=:@b/",
    "/api/v1/größe/": "/api/v1/gr%C3%B6%C3%9Fe/",
    "/api/v1/a b/": "/api/v1/a%20b/",
    '/api/v1/"quoted"<b>/': "/api/v1/%22quoted%22%3Cb%3E/",
    "/api/v1/%41/": "/api/v1/%2541/",
    "/api/v1/[a]{b}|c^`\\/": "/api/v1/%5Ba%5D%7Bb%7D%7Cc%5E%60%5C/",
    "/api/v1/a?b#c/": "/api/v1/a%3Fb%23c/",
    "/a\r\nb\x7f\x85": "/a%0D%0Ab%7F%C2%85",
    "//evil.example/api/": "/%2Fevil.example/api/",
    "///evil.example/": "/%2F/evil.example/",
    "/\ud800/": "/%ED%A0%80/",
    "/\U0001f600/": "/%F0%9F%98%80/",
}


@pytest.mark.parametrize(("path", "reference"), PATHS.items())
def test_the_instance_is_a_uri_reference(path: str, reference: str) -> None:
    """A path is percent-encoded exactly once and never names another host."""
    assert uri_reference(path) == reference
    for respond in (problem_response, problem_before_views):
        response = respond(404, "not_found", "There is nothing here.", instance=path)
        assert json.loads(response.content)["instance"] == reference
    assert urlsplit(urljoin("https://shop.example/", reference)).netloc == "shop.example"


@pytest.mark.parametrize(
    "sent", ["/api/v1/%C3%A9%20%22/", "//evil.example/", "/api/v1/fail/%0A/", "/api/v1/plain/fail/%25/"]
)
def test_the_path_of_a_request_comes_back_as_it_was_sent(api: APIClient, sent: str) -> None:
    """The instance is the path as it was sent, whether the resolver, a REST framework or a Django view answers."""
    response = api.generic("GET", sent, PATH_INFO=unquote_to_bytes(sent).decode("latin-1"))
    assert json.loads(response.content)["instance"] == sent.replace("//evil", "/%2Fevil")


def test_unknown_host_is_a_problem(api: APIClient) -> None:
    """Django's own refusals, made before any view, look alike."""
    problem_in(api.get("/api/v1/plain/", headers={"Host": "evil.example"}), 400)


@pytest.mark.django_db
def test_each_faulty_field_is_named(api: APIClient) -> None:
    """Nested serializers give paths with dots, each with message and code."""
    body = {"name": "", "items": [{"product": "a", "quantity": 1}, {"product": "b", "quantity": 0}, {}], "price": "x"}
    problem = problem_in(api.post("/api/v1/groups/", body, headers={"Idempotency-Key": "k-1"}), 400)
    assert problem["code"] == "validation_failed"
    assert {(error["field"], error["code"]) for error in problem["errors"]} == {
        ("name", "blank"),
        ("items.1.quantity", "min_value"),
        ("items.2.product", "required"),
        ("items.2.quantity", "required"),
        ("price", "invalid"),
    }
    assert all(error["message"] for error in problem["errors"])


@pytest.mark.django_db
def test_a_list_instead_of_an_object_is_refused(api: APIClient) -> None:
    """The fault of the whole body has the empty path."""
    problem = problem_in(api.post("/api/v1/groups/", [1], headers={"Idempotency-Key": "k-1"}), 400)
    assert [error["field"] for error in problem["errors"]] == [""]


def test_strangers_are_challenged(api: APIClient) -> None:
    """401 carries WWW-Authenticate."""
    response = api.get("/api/v1/members/")
    assert problem_in(response, 401)["code"] == "not_authenticated"
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_method_that_is_not_offered_names_those_that_are(api: APIClient) -> None:
    """405 carries Allow."""
    response = api.delete("/api/v1/members/")
    response = api.delete("/api/v1/reading/")
    assert problem_in(response, 405)["code"] == "method_not_allowed"
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml"]
)
def test_only_json_is_taken(api: APIClient, media_type: str) -> None:
    """Another media type is 415."""
    problem_in(api.generic("POST", "/api/v1/echo/", b"a=1", content_type=media_type), 415)


def test_only_json_is_given(api: APIClient) -> None:
    """A client that takes no JSON is told so, in JSON."""
    problem_in(api.get("/api/v1/reading/", headers={"Accept": "application/xml"}), 406)


def test_pages_for_browsers_stay_pages(api: APIClient) -> None:
    """Outside the API a browser sees what Django shows, and a program sees a problem."""
    browser = api.get("/pages/teapot/", headers={"Accept": "text/html,*/*"})
    assert browser.content == b"short and stout"
    program = api.get("/pages/teapot/")
    assert problem_in(program, 418)["code"] == "http_418"


def test_headers_survive(api: APIClient) -> None:
    """What becomes a problem keeps its other headers."""
    response = api.get("/api/v1/teapot/", headers={"Accept": "text/html"})
    problem_in(response, 418)
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("debug", [False, True])
def test_a_write_without_the_last_slash_is_not_redirected(api: APIClient, settings: Settings, debug: bool) -> None:
    """A redirect would lose the body, and with DEBUG on Django would raise an error."""
    settings.DEBUG = debug
    response = api.post("/api/v1/echo", {"a": 1})
    assert "slash" in problem_in(response, 404)["detail"]
    assert api.get("/api/v1/reading").status_code == 301


def test_problem_response_by_hand() -> None:
    """Views answer in the same form."""
    response = problem_response(
        409,
        "out_of_stock",
        "Only 2 are left.",
        errors=[
            FieldFault(field="quantity", message="At most 2.", code="max_value"),
            {"field": "a", "message": "b", "code": "c"},
        ],
        retry_after=1.2,
    )
    assert isinstance(response, HttpResponse)
    problem = problem_in(response, 409)
    assert problem["title"] == "Conflict"
    assert [error["field"] for error in problem["errors"]] == ["quantity", "a"]
    assert "instance" not in problem
    assert response.headers["Retry-After"] == "2"


def test_the_middleware_also_works_under_asgi(settings: Settings) -> None:
    """The same answers from an async server."""
    import asyncio

    from django.test import AsyncClient

    async def ask() -> Any:
        return await AsyncClient(raise_request_exception=False).get("/api/v1/plain/fail/operational/")

    assert problem_in(asyncio.run(ask()), 503)["code"] == "database_unavailable"
