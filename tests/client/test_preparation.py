import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from bandstand.client.preparation import Order, prepare
from bandstand.conf import wire

ID = UUID("0190163d-8694-739b-aea5-966c26f8ad91")


def order(method: str = "GET", path: str = "/x/", **options: Any) -> Order:
    return prepare("user-service", method, path, options)  # type: ignore[arg-type]


class Colour(Enum):
    RED = "red"


@dataclass
class Item:
    price: Decimal


class Line(msgspec.Struct):
    product: UUID


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": Decimal("19.90")}, {"a": "19.90"}),
        ({"id": ID}, {"id": str(ID)}),
        ({"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}, {"at": "2026-01-02T03:04:05Z"}),
        ({"on": date(2026, 1, 2)}, {"on": "2026-01-02"}),
        (Item(price=Decimal("1.10")), {"price": "1.10"}),
        ([Line(product=ID)], [{"product": str(ID)}]),
        ({"colour": Colour.RED}, {"colour": "red"}),
        ({"text": gettext_lazy("Monday")}, {"text": "Monday"}),
        ({}, {}),
        (0, 0),
        (False, False),
    ],
)
def test_what_services_speak_of_becomes_json(value: Any, expected: Any) -> None:
    """Money, ids, moments, structs and lazy texts are encoded without a hand-written converter, money as text."""
    made = order("POST", json=value)
    assert made.body is not None
    assert json.loads(made.body) == expected
    assert made.headers["Content-Type"] == "application/json"


def test_a_body_without_a_form_in_json_is_refused() -> None:
    """A mistake in the body is told with the place of the call, before anything is sent."""
    with pytest.raises(TypeError, match=r"body of POST /x/ of user-service.*objects of type object"):
        order("POST", json={"a": object()})


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b""), ("PUT", b""), ("PATCH", b""), ("GET", None), ("DELETE", None)]
)
def test_no_json_is_no_body(method: str, body: bytes | None) -> None:
    """Without json nothing is sent; methods that usually have a body say that theirs is empty."""
    made = order(method)
    assert made.body == body
    assert "Content-Type" not in made.headers


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"page": 2, "search": "a b&c"}, "?page=2&search=a+b%26c"),
        ({"ids": [1, 2], "all": True}, "?ids=1&ids=2&all=true"),
        ({"none": None}, ""),
        ({"none": [None]}, ""),
        ({}, ""),
        (None, ""),
        ([("a", 1), ("a", 2)], "?a=1&a=2"),
        (
            {"id": ID, "max": Decimal("1.10"), "on": date(2026, 1, 2), "c": Colour.RED},
            f"?id={ID}&max=1.10&on=2026-01-02&c=red",
        ),
        ({"q": "ä"}, "?q=%C3%A4"),
    ],
)
def test_the_query_is_encoded(params: Any, query: str) -> None:
    """Values become text as the services of the platform read it; lists repeat their name; None is left out."""
    assert order(params=params).target == f"/x/{query}"


def test_a_query_in_the_path_is_continued() -> None:
    """A path may bring its own query, to which the parameters are added."""
    assert order(path="/x/?a=1", params={"b": 2}).target == "/x/?a=1&b=2"
    assert order(path="/x/?a=1").path == "/x/"


@pytest.mark.parametrize("value", [object(), {"a": 1}, b"bytes"])
def test_a_parameter_without_a_form_in_a_url_is_refused(value: Any) -> None:
    """A parameter is never sent as the repr of an object."""
    with pytest.raises(TypeError, match="'a'"):
        order(params={"a": value})


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/users/ada lovelace/", "/users/ada%20lovelace/"),
        ("/users/ä/", "/users/%C3%A4/"),
        ("/a%20b/", "/a%20b/"),  # quoted already
        ("/a\r\nX-Evil: 1", "/a%0D%0AX-Evil:%201"),
        ("/a#b", "/a%23b"),
        ("/a\\b", "/a%5Cb"),
        ("/a@b:c/", "/a@b:c/"),
        ("/x/?q=a b#c", "/x/?q=a%20b%23c"),
        ("/.well-known/jwks.json", "/.well-known/jwks.json"),
        ("/a..b/...", "/a..b/..."),
        ("/x/?next=/../y", "/x/?next=/../y"),
    ],
)
def test_a_path_is_quoted_where_it_must_be(path: str, target: str) -> None:
    """Whatever a path holds stays within the path: it opens no new header, query or host."""
    assert order(path=path).target == target


@pytest.mark.parametrize(
    "path", ["/users/../admin/", "/users/..", "/./x", "/users/%2e%2E/admin/", "/users/.%2e/", "/users/%2e/x", "/../"]
)
def test_a_path_does_not_climb(path: str) -> None:
    """An id like `../admin` leads to an error and not to another route."""
    with pytest.raises(ValueError, match="dot segment"):
        order(path=path)


@pytest.mark.parametrize("path", ["", "x/", "http://evil/", "@evil/", ".evil/", ":80/", "?a"])
def test_a_path_begins_with_a_slash(path: str) -> None:
    """Nothing that a path begins with can become a part of the host."""
    with pytest.raises(ValueError, match="begin with a slash"):
        order(path=path)


@given(st.text().filter(lambda text: not any(0xD800 <= ord(character) <= 0xDFFF for character in text)))
def test_no_text_breaks_out_of_the_path(text: str) -> None:
    """For every text, a path made of it is either refused or plain ASCII without white space and fragment."""
    try:
        target = order(path="/" + text).target
    except ValueError:
        return
    assert target.startswith("/")
    assert target.isascii()
    assert not any(character.isspace() or ord(character) < 0x21 or character in '#"<>\\' for character in target)


@pytest.mark.parametrize("method", ["get", "TRACE", "CONNECT", "GET /x HTTP/1.1\r\n", ""])
def test_only_known_methods_are_sent(method: str) -> None:
    """A method is one of a list, since it goes onto the wire as it is."""
    with pytest.raises(ValueError, match="method"):
        order(method)


@pytest.mark.parametrize("timeout", [math.nan, math.inf])
def test_a_call_without_an_end_is_refused(timeout: float) -> None:
    """No call is without a time-out, not even when it is asked for."""
    with pytest.raises(ValueError, match="timeout"):
        order(timeout=timeout)


@pytest.mark.parametrize(
    ("method", "options", "repeatable"),
    [
        ("GET", {}, True),
        ("HEAD", {}, True),
        ("OPTIONS", {}, True),
        ("POST", {}, False),
        ("PUT", {}, False),
        ("PATCH", {}, False),
        ("DELETE", {}, False),
        ("POST", {"idempotency_key": "k"}, True),
        ("DELETE", {"idempotency_key": "k"}, True),
        ("POST", {"headers": {"idempotency-key": "k"}}, True),
    ],
)
def test_what_may_be_repeated(method: str, options: dict[str, Any], repeatable: bool) -> None:
    """Only a safe method, or a call with an idempotency key, may reach a service twice."""
    assert order(method, **options).repeatable is repeatable


def test_the_key_and_the_user_go_along() -> None:
    """Idempotency key and the user's token are sent in their headers."""
    made = order("POST", idempotency_key="key-1", on_behalf_of="Bearer abc")
    assert made.headers[wire.IDEMPOTENCY_KEY] == "key-1"
    assert made.headers["Authorization"] == "Bearer abc"


@pytest.mark.parametrize("nobody", [None, ""])
def test_on_behalf_of_nobody(nobody: str | None) -> None:
    """Where the request that is answered had no user, none is passed on."""
    assert "Authorization" not in order(on_behalf_of=nobody).headers


def test_a_token_without_its_scheme_is_refused() -> None:
    """`on_behalf_of` is the whole header; a bare token would be sent in vain."""
    with pytest.raises(ValueError, match="Bearer"):
        order(on_behalf_of="abc")


def test_headers_by_hand_take_the_place_of_the_defaults() -> None:
    """A header is sent once, however it is written."""
    made = order("PATCH", json={}, headers={"content-type": "application/merge-patch+json", "ACCEPT": "text/csv"})
    assert {name.lower(): value for name, value in made.headers.items()}[
        "content-type"
    ] == "application/merge-patch+json"
    assert [value for name, value in made.headers.items() if name.lower() == "accept"] == ["text/csv"]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00", "", " ", " a", "a ", "ä", "a\x7f"])
@pytest.mark.parametrize("place", ["headers", "idempotency_key", "on_behalf_of"])
def test_no_value_begins_a_header_of_its_own(place: str, value: str) -> None:
    """A value with a line break, or anything else that a header can't hold, is refused, wherever it comes from."""
    options: dict[str, Any] = {
        "headers": {"headers": {"X-A": value}},
        "idempotency_key": {"idempotency_key": value},
        "on_behalf_of": {"on_behalf_of": f"Bearer x{value}" if value else "x"},
    }[place]
    if place == "on_behalf_of" and value == " a":
        options = {"on_behalf_of": " Bearer x"}
    with pytest.raises(ValueError):
        order(**options)


@pytest.mark.parametrize("name", ["X A", "X:A", "", "X\r\nA", "Ä"])
def test_a_header_has_a_proper_name(name: str) -> None:
    """A name that HTTP does not allow is refused."""
    with pytest.raises(ValueError):
        order(headers={name: "1"})


@pytest.mark.parametrize(
    "name",
    [
        "X-Service-Token",
        "x-correlation-id",
        "traceparent",
        "Host",
        "content-length",
        "Transfer-Encoding",
        "X-Request-Timeout-Ms",
    ],
)
def test_what_the_client_sets_cannot_be_set(name: str) -> None:
    """Whoever hands all headers of a request on would hand on identity and framing: that is refused by name."""
    with pytest.raises(ValueError, match=f"sets the header {name} by itself"):
        order(headers={name: "1"})


def test_nothing_secret_is_shown() -> None:
    """The repr of an order names the call and nothing that was sent."""
    made = order("POST", json={"password": "hunter2"}, on_behalf_of="Bearer secret", params={"email": "a@b.c"})
    assert repr(made) == "Order(POST /x/ of user-service)"


@pytest.mark.parametrize("value", [math.inf, math.nan, Decimal("NaN")])
def test_a_number_that_is_none_is_not_sent(value: Any) -> None:
    """JSON has no NaN: another service would take null for a missing value."""
    with pytest.raises(TypeError, match=r"the value at a\.0 is NaN or infinite"):
        order("POST", json={"a": [value]})
