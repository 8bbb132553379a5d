"""Whatever comes in, the answer is never the service's own failure."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from rest_framework.test import APIClient

from users.models import User

pytestmark = pytest.mark.django_db

DEEP: Final = "[" * 100_000
BODIES: Final = {
    "empty": b"",
    "half": b'{"email": "a',
    "nul byte": b'{"email": "a\x00b"}',
    "nul escape": b'{"email": "a\\u0000b@example.com", "username": "a", "password": "\\u0000", "bio": "\\u0000"}',
    "surrogate": b'{"email": "\\ud800@example.com", "username": "\\udfff", "password": "\\ud800", "bio": "\\ud800"}',
    "not a number": b'{"preferences": {"x": NaN}, "email": NaN}',
    "infinite": b'{"preferences": {"x": 1e999}, "email": 1e999}',
    "many digits": b'{"preferences": {"x": ' + b"9" * 5000 + b'}, "date_of_birth": ' + b"9" * 5000 + b"}",
    "int64 and one": b'{"preferences": {"x": 9223372036854775808}, "username": 9223372036854775808}',
    "duplicate keys": b'{"email": "a@example.com", "email": {"b": 1}, "bio": "x", "bio": []}',
    "list": b"[]",
    "list of objects": b'[{"email": "a@example.com"}]',
    "null": b"null",
    "text": b'"email"',
    "number": b"1",
    "wrong types": b'{"email": [], "username": {}, "password": 1, "date_of_birth": true, "bio": {}, "refresh": []}',
    "nested types": b'{"email": {"x": {}}, "old_password": [[]], "new_password": {"a": null}, "preferences": [1]}',
    "utf-16": '{"email": "a@example.com"}'.encode("utf-16"),
    "latin-1": '{"email": "ä@example.com", "bio": "ä"}'.encode("latin-1"),
    "byte order mark": b'\xef\xbb\xbf{"email": "a@example.com"}',
    "deep list": DEEP.encode(),
    "deep object": ('{"preferences":' * 100_000).encode(),
    "long texts": b'{"email": "%b", "username": "%b", "password": "%b", "bio": "%b"}' % ((b"x" * 200_000,) * 4),
    "too large": b'{"bio": "%b"}' % (b"x" * 1_100_000),
    "odd dates": b'{"date_of_birth": "0000-00-00", "email": "a@example.com", "username": "a", "password": "x"}',
    "far dates": b'{"date_of_birth": "99999-12-31"}',
    "control characters": b'{"username": "a\\u0007\\u001b[31m", "first_name": "\\r\\n", "bio": "\\u202e"}',
    "sql": b"""{"email": "' OR 1=1; --@example.com", "username": "'; DROP TABLE users_user; --", "password": "x"}""",
}
TYPES: Final = (
    "application/json",
    "application/json; charset=utf-16",
    "application/json; charset=nonsense",
    "text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "nonsense",
    "",
)
WRITES: Final = (
    ("post", "users/"),
    ("post", "users/authenticate/"),
    ("post", "users/token/refresh/"),
    ("post", "users/token/revoke/"),
    ("put", "users/{id}/"),
    ("patch", "users/{id}/"),
    ("put", "users/{id}/profile/"),
    ("post", "users/{id}/change_password/"),
)
QUERIES: Final = (
    "page=abc", "page=0", "page=-1", "page=1e9", "page=99999999999999999999", "page=%00", "page=1&page=2",
    "page_size=0", "page_size=abc", "page_size=100000000", "search=%00", "search=%ff", "search=%ed%a0%80",
    "search=" + "x" * 5000, "search='%22\\%25_", "ordering=password", "ordering=-", "ordering=%00", "ordering=,,,",
    "ordering=user__email", "%00=1", "[]=1", "=", "&&&", "page[]=1",
)  # fmt: skip
PATHS: Final = (
    "users/0/",
    "users/%00/",
    "users/../",
    "users/%ff/",
    "users/" + "x" * 3000 + "/",
    "users//",
    "users/nil/",
)


def assert_refused(response: Any) -> None:
    """A refusal is of the 400s, and a problem document."""
    assert 400 <= response.status_code < 500, (response.status_code, response.content[:300])
    assert response["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "code"} <= set(response.json())


@pytest.fixture
def client(staff: User, signed_in: Callable[[User], APIClient]) -> APIClient:
    return signed_in(staff)


@pytest.mark.parametrize(("method", "route"), WRITES)
@pytest.mark.parametrize("name", BODIES)
def test_bodies(client: APIClient, staff: User, method: str, route: str, name: str) -> None:
    """A body of any kind to any write is refused, or understood, and never breaks anything."""
    path = "/api/v1/" + route.format(id=staff.pk)
    response = client.generic(method.upper(), path, BODIES[name], content_type="application/json")
    if 200 <= response.status_code < 300:
        assert method in {"put", "patch"} or route == "users/token/revoke/"
    else:
        assert_refused(response)
    assert User.objects.get().email == "staff@example.com"


@pytest.mark.parametrize(("method", "route"), WRITES)
@pytest.mark.parametrize("content_type", TYPES)
def test_content_types(client: APIClient, staff: User, method: str, route: str, content_type: str) -> None:
    """A body of another type than JSON is refused."""
    path = "/api/v1/" + route.format(id=staff.pk)
    response = client.generic(method.upper(), path, b"username=x&email=y", content_type=content_type)
    assert_refused(response)


@pytest.mark.parametrize("query", QUERIES)
def test_queries(client: APIClient, query: str) -> None:
    """A query of any kind gets a page or a refusal."""
    response = client.get(f"/api/v1/users/?{query}")
    if response.status_code != 200:
        assert_refused(response)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("suffix", ["", "profile/", "orders/", "change_password/"])
def test_paths(client: APIClient, path: str, suffix: str) -> None:
    """A path with an id that is none is not found."""
    assert_refused(client.get(f"/api/v1/{path}{suffix}"))
