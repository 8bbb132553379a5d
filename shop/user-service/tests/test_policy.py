"""Who may use which endpoint: the whole table, and proof that it is the whole."""

from collections.abc import Callable
from itertools import product
from typing import Any, Final

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from users.models import User

pytestmark = pytest.mark.django_db

ROLES: Final = ("owner", "other", "anonymous", "staff", "service", "wrong_service")

# Bodies that do what is asked for, so that a refusal is about who asks.
REGISTRATION: Final = {"email": "new@example.com", "username": "new", "password": "correct horse battery"}
CREDENTIALS: Final = {"email": "owner@example.com", "password": "correct horse battery"}
PASSWORDS: Final = {"old_password": "correct horse battery", "new_password": "another horse battery"}
TOKEN: Final = {"refresh": "unknown"}

# For each route and method: the body, and the status for each of ROLES. A service that is not on the list of callers
# is refused before any endpoint is reached; one that is on it may read a user, and is nobody everywhere else.
POLICY: Final = {
    ("users/", "get"): (None, (403, 403, 401, 200, 401, 403)),
    ("users/", "post"): (REGISTRATION, (201, 201, 201, 201, 201, 403)),
    ("users/authenticate/", "post"): (CREDENTIALS, (200, 200, 200, 200, 200, 403)),
    ("users/token/refresh/", "post"): (TOKEN, (401, 401, 401, 401, 401, 403)),
    ("users/token/revoke/", "post"): (TOKEN, (204, 204, 204, 204, 204, 403)),
    ("users/{id}/", "get"): (None, (200, 403, 401, 200, 200, 403)),
    ("users/{id}/", "put"): ({"username": "owner"}, (200, 403, 401, 200, 401, 403)),
    ("users/{id}/", "patch"): ({"first_name": "O"}, (200, 403, 401, 200, 401, 403)),
    ("users/{id}/profile/", "get"): (None, (200, 403, 401, 200, 401, 403)),
    ("users/{id}/profile/", "put"): ({"bio": "O"}, (200, 403, 401, 200, 401, 403)),
    ("users/{id}/change_password/", "post"): (PASSWORDS, (200, 403, 401, 403, 401, 403)),
    ("users/{id}/orders/", "get"): (None, (200, 403, 401, 200, 401, 403)),
}
CASES: Final = [
    pytest.param(route, method, role, status, id=f"{method} {route} {role}")
    for (route, method), (_, statuses) in POLICY.items()
    for role, status in zip(ROLES, statuses, strict=True)
]


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    return make_user(email="owner@example.com", username="owner")


@pytest.fixture
def client_of(
    *,
    owner: User,
    bob: User,
    staff: User,
    signed_in: Callable[[User], APIClient],
    as_service: Callable[[str], APIClient],
    api_client: APIClient,
) -> Callable[[str], APIClient]:
    """Return a function that returns the client of a role."""
    users = {"owner": owner, "other": bob, "staff": staff}
    services = {"service": "order-service", "wrong_service": "stranger-service"}

    def client(role: str) -> APIClient:
        if role in users:
            return signed_in(users[role])
        return as_service(services[role]) if role in services else api_client

    return client


@pytest.mark.parametrize(("route", "method", "role", "status"), CASES)
def test_the_table_holds(
    *,
    route: str,
    method: str,
    role: str,
    status: int,
    owner: User,
    client_of: Callable[[str], APIClient],
    fake_services: Any,
) -> None:
    """Every route and method answers every kind of caller as the table says."""
    fake_services.on("order-service", "GET", "/api/v1/orders/", json={"count": 0, "results": []})
    body, _ = POLICY[route, method]
    path = "/api/v1/" + route.format(id=owner.pk)
    response = getattr(client_of(role), method)(path, body)
    assert response.status_code == status, response.content


def routes(patterns: list[Any], prefix: str = "") -> set[tuple[str, str]]:
    """Return every route and method that the URL configuration below ``prefix`` answers."""
    found = set()
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found |= routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and route.startswith("api/v1/"):
            name = route.removeprefix("api/v1/").replace("<uuid:pk>", "{id}")
            found |= {(name, method) for method in pattern.callback.actions if method != "head"}
    return found


def test_the_table_is_the_whole() -> None:
    """A route or method that the table does not name fails here, before anybody forgets who may use it."""
    assert routes(get_resolver().url_patterns) == set(POLICY)


METHODS: Final = ("get", "post", "put", "patch", "delete", "trace")
OTHERS: Final = sorted(set(product({route for route, _ in POLICY}, METHODS)) - set(POLICY))


@pytest.mark.parametrize(("route", "method"), OTHERS)
def test_other_methods_are_not_allowed(
    route: str, method: str, owner: User, client_of: Callable[[str], APIClient]
) -> None:
    """A method that a route does not know gets 405 with a problem document."""
    response = client_of("staff").generic(method.upper(), "/api/v1/" + route.format(id=owner.pk))
    assert response.status_code == 405
    assert response["Content-Type"] == "application/problem+json"


def test_a_token_of_nobody_is_refused(api_client: APIClient, owner: User) -> None:
    """A bearer token that is none gives 401 and says which kind is expected."""
    for token in ("", "x", "a.b.c", "Bearer", "é"):
        response = api_client.get(f"/api/v1/users/{owner.pk}/", HTTP_AUTHORIZATION=f"Bearer {token}")
        assert response.status_code == 401, token
        assert response["WWW-Authenticate"] == "Bearer"
