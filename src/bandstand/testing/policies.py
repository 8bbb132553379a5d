"""Who may use which endpoint: a table in a service's tests, held against what the service really routes.

::

    POLICY = PolicyMatrix(
        roles=("owner", "other", "anonymous", "staff", "service", "wrong_service"),
        rows={
            "GET /api/v1/orders/": (200, 200, 401, 200, 401, 403),
            "GET /api/v1/orders/{pk}/": (200, 404, 401, 200, 401, 403),
        },
    )

    @pytest.mark.parametrize(("endpoint", "role", "status"), POLICY.cells())
    def test_the_table_holds(endpoint, role, status, order, as_role):
        assert endpoint.call(as_role(role, order.user_id), pk=order.pk).status_code == status

    def test_the_table_is_the_whole():
        POLICY.assert_complete()

    @pytest.mark.parametrize("endpoint", POLICY.others())
    def test_other_methods_are_not_allowed(endpoint, as_role):
        assert endpoint.call(as_role("staff"), pk=uuid4()).status_code == 405

A route that is added without a row fails ``assert_complete()``: nobody forgets to say who may use it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import msgspec
import pytest
from django.contrib.admindocs.views import simplify_regex
from django.urls import URLPattern, URLResolver, get_resolver

__all__ = ["Endpoint", "PolicyMatrix", "api_endpoints"]

_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")
_IMPLIED: Final = {"HEAD", "OPTIONS"}  # what Django and REST framework answer beside a view's own methods


class Endpoint(msgspec.Struct, frozen=True, order=True):
    """A path, with its variable parts as ``{name}``, and a method."""

    path: str
    method: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``GET /api/v1/orders/{pk}/``."""
        method, _, path = text.partition(" ")
        if method not in _METHODS or not path.startswith("/"):
            raise ValueError(f"{text!r} is not an endpoint; write one as 'GET /api/v1/orders/{{pk}}/'.")
        return cls(path=path, method=method)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, **parameters: object) -> str:
        """Return the path with ``parameters`` in the places of the same names; those that it has not are ignored."""
        return self.path.format(**parameters)

    def call(self, client: Any, body: object = None, *, headers: Mapping[str, str] | None = None, **at: object) -> Any:
        """Call it by REST framework's test client, with ``body`` as JSON, and return the answer."""
        if self.method in {"GET", "TRACE"} or body is None:
            return client.generic(self.method, self.url(**at), headers=headers)
        return getattr(client, self.method.lower())(self.url(**at), body, headers=headers)


class PolicyMatrix:
    """For each endpoint the status that each role gets; ``rows`` are keyed by ``"GET /api/v1/orders/{pk}/"``."""

    def __init__(self, *, roles: Sequence[str], rows: Mapping[str, Sequence[int]]) -> None:
        self.roles = tuple(roles)
        self.rows = {Endpoint.parse(text): tuple(statuses) for text, statuses in rows.items()}
        for endpoint, statuses in self.rows.items():
            if len(statuses) != len(self.roles):
                raise ValueError(f"{endpoint} has {len(statuses)} statuses for {len(self.roles)} roles.")

    def cells(self) -> list[Any]:
        """Return the parameters ``(endpoint, role, status)`` of a test."""
        return [
            pytest.param(endpoint, role, status, id=f"{endpoint} {role}")
            for endpoint, statuses in self.rows.items()
            for role, status in zip(self.roles, statuses, strict=True)
        ]

    def others(self) -> list[Any]:
        """Return the parameters ``endpoint`` of a test: every method that a path of the table does not know."""
        paths = dict.fromkeys(endpoint.path for endpoint in self.rows)
        every = (Endpoint(path, method) for path in paths for method in _METHODS)
        return [pytest.param(endpoint, id=str(endpoint)) for endpoint in every if endpoint not in self.rows]

    def assert_complete(self, *, below: str = "/api/v") -> None:
        """Hold the table against the routes ``below`` a path.

        Raises:
            AssertionError: an endpoint has no row, or a row no endpoint.
        """
        routed = api_endpoints(below=below)
        faults = [f"{endpoint} is in no row: who may use it?" for endpoint in sorted(routed - set(self.rows))]
        faults += [f"{endpoint} has a row, but no route." for endpoint in sorted(set(self.rows) - routed)]
        assert not faults, "\n".join(faults)


def api_endpoints(*, below: str = "/api/v") -> frozenset[Endpoint]:
    """Return every endpoint ``below`` a path that the service's URLconf routes.

    Raises:
        AssertionError: a route's methods can't be seen, as it is a plain function. Decorate it with ``@api_view``.
    """
    found: set[Endpoint] = set()
    for route, pattern in _patterns(get_resolver().url_patterns):
        path = _PARAMETER.sub(r"{\1}", simplify_regex(route))
        if path.startswith(below):
            found |= {Endpoint(path, method) for method in _methods(pattern, path)}
    return frozenset(found)


def _patterns(patterns: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern


def _methods(pattern: URLPattern, path: str) -> set[str]:
    cls = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    assert cls is not None, f"{path} is a function, whose methods can't be seen. Decorate it with @api_view."
    actions: dict[str, str] | None = getattr(pattern.callback, "actions", None)
    methods = [name for name in cls.http_method_names if (hasattr(cls, name) if actions is None else name in actions)]
    return {method.upper() for method in methods} - _IMPLIED
