import msgspec
import pytest

from bandstand.client import Headers, Request, Response
from bandstand.exceptions import ServiceResponseError

DEEP = b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def response(content: bytes = b"", status: int = 200, kind: str = "application/json") -> Response:
    return Response(service="user-service", status=status, headers=Headers([("Content-Type", kind)]), content=content)


def test_header_names_have_no_case() -> None:
    """A header is found however its name is written, there or here."""
    headers = Headers([("X-Correlation-ID", "abc")])
    assert headers["x-correlation-id"] == headers["X-CORRELATION-ID"] == "abc"
    assert "X-Correlation-Id" in headers
    assert headers.get("x-other") is None


def test_repeated_headers_are_joined() -> None:
    """A header that comes several times is one list, as HTTP says."""
    assert Headers([("Via", "a"), ("via", "b")])["VIA"] == "a, b"


def test_headers_are_read_from_lines() -> None:
    """What libcurl hands over line by line is the same mapping, without the status line and the empty one."""
    lines = [b"HTTP/1.1 200 OK\r\n", b"Content-Type:application/json\r\n", b"X-Empty:\r\n", b"X-A:  b \r\n", b"\r\n"]
    assert dict(Headers(lines=lines)) == {"content-type": "application/json", "x-empty": "", "x-a": "b"}


def test_headers_of_an_interim_answer_do_not_count() -> None:
    """What came with 103 Early Hints is not a header of the answer."""
    lines = [b"HTTP/1.1 103 Early\r\n", b"Link: x\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", b"\r\n"]
    assert dict(Headers(lines=lines)) == {"x-a": "b"}


def test_bytes_outside_ascii_in_a_header_do_no_harm() -> None:
    """A header is bytes; any of them can be read."""
    assert Headers(lines=[b"HTTP/1.1 200 OK\r\n", b"X-A: caf\xe9\r\n"])["x-a"] == "café"


class User(msgspec.Struct):
    id: int


def test_json_is_decoded_as_asked() -> None:
    """Without a type the body is plain values, with one it is checked and made so; unknown fields are ignored."""
    assert response(b'{"id": 1, "more": 2}').json() == {"id": 1, "more": 2}
    assert response(b'{"id": 1, "more": 2}').json(User) == User(id=1)
    assert response(b'[{"id": 1}]').json(list[User]) == [User(id=1)]


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"id": "one"}', b'{"id": 1', b"\xff", b'{"id": "\xff"}', DEEP])
def test_a_body_that_cannot_be_used_is_the_services_fault(content: bytes) -> None:
    """A body that is no JSON, or not of the type, is an error that names the service, not a bare decoding error."""
    with pytest.raises(ServiceResponseError, match="user-service answered 200, but its body can't be used") as caught:
        response(content).json(User)
    assert caught.value.service == "user-service"


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("application/problem+json", b'{"code": "taken"}', {"code": "taken"}),
        ("application/json; charset=utf-8", b'{"detail": "no"}', {"detail": "no"}),
        ("APPLICATION/PROBLEM+JSON", b'{"code": "taken"}', {"code": "taken"}),
        ("application/json", b"[1]", {}),
        ("application/json", b"{", {}),
        ("application/jsonp", b'{"code": "taken"}', {}),
        ("text/html", b'{"code": "taken"}', {}),
        ("application/json", DEEP, {}),
        ("", b"", {}),
    ],
)
def test_only_a_json_object_is_a_problem(kind: str, content: bytes, problem: dict[str, object]) -> None:
    """A problem document is read if it is one; anything else gives an empty one and no second error."""
    assert response(content, status=409, kind=kind).problem() == problem


def test_nothing_secret_is_shown() -> None:
    """What is printed into a traceback or a log holds neither tokens nor bodies nor queries."""
    request = Request(
        service="user-service",
        method="GET",
        url="http://a:1/users/?email=ada@example.com",
        headers={"Authorization": "Bearer secret"},
        body=b"hunter2",
        timeout=1,
        connect_timeout=1,
        max_response_bytes=1,
        repeatable=True,
    )
    assert repr(request) == "Request(GET http://a:1/users/)"
    assert repr(response(b"hunter2")) == "Response(200 of user-service, 7 bytes)"
    assert repr(Headers([("Set-Cookie", "secret")])) == "Headers(set-cookie)"
