"""Bad input of every kind, for the endpoints of a service: whatever comes in, no answer is the service's own failure.

::

    def test_bodies(as_user):
        assert_withstands_bodies(as_user(7), "POST", "/api/v1/orders/", example={"items": [{"quantity": 1}]})

    def test_queries(api_client):
        assert_withstands_queries(api_client, "/api/v1/products/", parameters=("page", "search", "min_price"))

Each function sends some hundreds of requests, each in a transaction that is undone, and fails with a list of those that
were answered with a status from 500 on, or with an error that is no problem document. It returns how often each status
came, so that a test can ask for more (``set(statuses) == {400}``).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from django.db import transaction

from bandstand.testing import corpus

__all__ = [
    "assert_withstands_bodies",
    "assert_withstands_content_types",
    "assert_withstands_headers",
    "assert_withstands_paths",
    "assert_withstands_queries",
]

Headers: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Headers of each request, or what makes them anew for each: an ``Idempotency-Key``."""


def assert_withstands_bodies(
    client: Any, method: str, path: str, *, example: object = None, headers: Headers | None = None
) -> Counter[int]:
    """Send bad bodies: those that fit no endpoint, and a good ``example`` with each of its values replaced or left out.

    Raises:
        AssertionError: with each body that the service did not withstand.
    """
    return _send(
        client, ((f"{method} {path} with {name}", method, path, body) for name, body in _bad_bodies(example)), headers
    )


def assert_withstands_content_types(
    client: Any, method: str, path: str, *, headers: Headers | None = None
) -> Counter[int]:
    """Send bodies of other types than JSON in UTF-8.

    Raises:
        AssertionError: with each type that the service did not withstand.
    """
    watch = _Watch(headers)
    for content_type in corpus.TYPES:
        name = f"{method} {path} as {content_type!r}"
        watch.send(name, client, method, path, data=b"a=1&b=2", content_type=content_type)
    return watch.statuses()


def assert_withstands_queries(
    client: Any, path: str, *, parameters: Iterable[str] = (), method: str = "GET", headers: Headers | None = None
) -> Counter[int]:
    """Ask with bad values of each of the query's ``parameters``, alone and repeated, and with queries that are none.

    Raises:
        AssertionError: with each query that the service did not withstand.
    """
    queries = [*corpus.QUERIES]
    for name in (*parameters, "unknown"):
        queries += [f"{name}={value}" for value in corpus.QUERY_VALUES]
        queries += [f"{name}=1&{name}=2", f"{name}[]=1", f"{name}[a]=1", name, f"{name}__in=1"]
    return _send(client, ((f"{method} {path}?{query}", method, f"{path}?{query}", b"") for query in queries), headers)


def assert_withstands_paths(client: Any, method: str, template: str, *, headers: Headers | None = None) -> Counter[int]:
    """Ask at paths with bad values in the places of ``template``: ``/api/v1/orders/{pk}/``. None of them is there.

    Raises:
        AssertionError: with each path that the service did not withstand, or found.
    """
    before, _, rest = template.partition("{")
    after = rest.partition("}")[2]
    paths = [f"{before}{value}{after}" for value in corpus.PATH_VALUES]
    found = _send(client, ((f"{method} {path}", method, path, b"") for path in paths), headers)
    assert min(found) >= 400, f"{method} {template}: something was found where nothing is: {dict(found)}"
    return found


def assert_withstands_headers(
    client: Any, method: str, path: str, *, names: Iterable[str], body: object = None, headers: Headers | None = None
) -> Counter[int]:
    """Send bad values of the headers ``names`` with an otherwise good request.

    Raises:
        AssertionError: with each header that the service did not withstand.
    """
    watch = _Watch(headers)
    data = b"" if body is None else json.dumps(body).encode()
    for name in names:
        for value in corpus.HEADER_VALUES:
            what = f"{method} {path} with {name}: {value!r:.60}"
            watch.send(what, client, method, path, data=data, more={name: value})
    return watch.statuses()


def _bad_bodies(example: object) -> Iterator[tuple[str, bytes]]:
    yield from corpus.BODIES.items()
    if example is None:
        return
    for place, text in _with_holes(example):
        for name, value in corpus.VALUES.items():
            yield f"{name} at {place}", text.replace(_HOLE_IN_JSON, value).encode("utf-8", "surrogatepass")
    for place, body in _without(example):
        yield f"nothing at {place}", json.dumps(body).encode()
    if isinstance(example, dict):
        twice = json.dumps(example)[1:-1]
        yield "each key twice", f"{{{twice},{twice}}}".encode()
        yield "keys of the model", json.dumps({**example, **_PRIVILEGES}).encode()


_HOLE: Final = "\0hole"
_HOLE_IN_JSON: Final = json.dumps(_HOLE)
_PRIVILEGES: Final = {"id": 1, "pk": 1, "is_staff": True, "is_superuser": True, "status": "x", "created_at": "x"}


def _with_holes(example: object) -> Iterator[tuple[str, str]]:
    """Return for each value in ``example``, however deep, its place and the JSON with a hole there."""
    for place, body in _replaced(example, _HOLE):
        yield place, json.dumps(body, ensure_ascii=False)


def _replaced(value: object, by: object, place: str = "") -> Iterator[tuple[str, object]]:
    if place:
        yield place, by
    if isinstance(value, dict):
        for key, inner in value.items():
            for where, changed in _replaced(inner, by, f"{place}.{key}".lstrip(".")):
                yield where, {**value, key: changed}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for where, changed in _replaced(inner, by, f"{place}.{index}".lstrip(".")):
                yield where, [*value[:index], changed, *value[index + 1 :]]


def _without(example: object) -> Iterator[tuple[str, object]]:
    if isinstance(example, dict):
        for key, inner in example.items():
            yield key, {other: value for other, value in example.items() if other != key}
            for place, changed in _without(inner):
                yield f"{key}.{place}", {**example, key: changed}
    elif isinstance(example, list):
        for index, inner in enumerate(example):
            for place, changed in _without(inner):
                yield f"{index}.{place}", [*example[:index], changed, *example[index + 1 :]]


Requests: TypeAlias = Iterable[tuple[str, str, str, bytes]]


def _send(client: Any, requests: Requests, headers: Headers | None) -> Counter[int]:
    watch = _Watch(headers)
    for name, method, path, body in requests:
        watch.send(name, client, method, path, data=body)
    return watch.statuses()


class _Watch:
    """Sends requests and remembers what came back."""

    def __init__(self, headers: Headers | None) -> None:
        self._headers = headers
        self._counted: Counter[int] = Counter()
        self._faults: list[str] = []

    def send(
        self,
        name: str,
        client: Any,
        method: str,
        path: str,
        *,
        data: bytes,
        content_type: str = "application/json",
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Send one request and undo what it wrote."""
        given = self._headers() if callable(self._headers) else self._headers
        with transaction.atomic():
            answer = client.generic(method, path, data, content_type, headers={**(given or {}), **(more or {})})
            transaction.set_rollback(True)
        self._counted[answer.status_code] += 1
        if fault := _fault(answer):
            self._faults.append(f"{name:.200}: {fault}")

    def statuses(self) -> Counter[int]:
        """Return how often each status came.

        Raises:
            AssertionError: an answer was none that a service may give.
        """
        assert self._counted, "nothing was sent"
        total = self._counted.total()
        assert not self._faults, f"{len(self._faults)} of {total} requests:\n" + "\n".join(self._faults)
        return self._counted


def _fault(answer: Any) -> str:
    status: int = answer.status_code
    if status >= 500:
        return f"{status} {answer.content[:200]!r}"
    if status < 400:
        return ""
    if answer.headers.get("Content-Type") != "application/problem+json":
        return f"{status} as {answer.headers.get('Content-Type')}, which is no problem document"
    missing = {"type", "title", "status", "detail", "code"} - set(json.loads(answer.content))
    return f"{status} without {', '.join(sorted(missing))}" if missing else ""
