"""Who may use which endpoint: the whole table, and proof that it is the whole."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from bandstand.testing.policies import Endpoint, PolicyMatrix
from rest_framework.test import APIClient

from users.models import User

pytestmark = pytest.mark.django_db

# Bodies that do what is asked for, so that a refusal is about who asks.
BODIES: Final[dict[str, dict[str, str]]] = {
    "POST /api/v1/users/": {"email": "new@example.com", "username": "new", "password": "correct horse battery"},
    "POST /api/v1/users/authenticate/": {"email": "owner@example.com", "password": "correct horse battery"},
    "POST /api/v1/users/token/refresh/": {"refresh": "unknown"},
    "POST /api/v1/users/token/revoke/": {"refresh": "unknown"},
    "PUT /api/v1/users/{pk}/": {"username": "owner"},
    "PATCH /api/v1/users/{pk}/": {"first_name": "O"},
    "PUT /api/v1/users/{pk}/profile/": {"bio": "O"},
    "POST /api/v1/users/{pk}/change_password/": {
        "old_password": "correct horse battery",
        "new_password": "another horse battery",
    },
}

# A service that is not on the list of callers is refused before any endpoint is reached; one that is on it may read a
# user, and is nobody everywhere else.
POLICY: Final = PolicyMatrix(
    roles=("owner", "other", "anonymous", "staff", "service", "wrong_service"),
    rows={
        "GET /api/v1/users/": (403, 403, 401, 200, 401, 403),
        "POST /api/v1/users/": (201, 201, 201, 201, 201, 403),
        "POST /api/v1/users/authenticate/": (200, 200, 200, 200, 200, 403),
        "POST /api/v1/users/token/refresh/": (401, 401, 401, 401, 401, 403),
        "POST /api/v1/users/token/revoke/": (204, 204, 204, 204, 204, 403),
        "GET /api/v1/users/{pk}/": (200, 403, 401, 200, 200, 403),
        "PUT /api/v1/users/{pk}/": (200, 403, 401, 200, 401, 403),
        "PATCH /api/v1/users/{pk}/": (200, 403, 401, 200, 401, 403),
        "GET /api/v1/users/{pk}/profile/": (200, 403, 401, 200, 401, 403),
        "PUT /api/v1/users/{pk}/profile/": (200, 403, 401, 200, 401, 403),
        "POST /api/v1/users/{pk}/change_password/": (200, 403, 401, 403, 401, 403),
        "GET /api/v1/users/{pk}/orders/": (200, 403, 401, 200, 401, 403),
    },
)


@pytest.fixture
def owner(make_user: Callable[..., User]) -> User:
    return make_user(email="owner@example.com", username="owner")


@pytest.fixture
def client_of(
    *, owner: User, bob: User, staff: User, signed_in: Callable[[User], APIClient], as_role: Callable[..., APIClient]
) -> Callable[[str], APIClient]:
    """Return a function that returns the client of a role; users have signed in, as this service looks them up."""
    users = {"owner": owner, "other": bob, "staff": staff}
    return lambda role: signed_in(users[role]) if role in users else as_role(role)


@pytest.mark.parametrize(("endpoint", "role", "status"), POLICY.cells())
def test_the_table_holds(
    *,
    endpoint: Endpoint,
    role: str,
    status: int,
    owner: User,
    client_of: Callable[[str], APIClient],
    fake_services: Any,
) -> None:
    """Every endpoint answers every kind of caller as the table says."""
    fake_services.on("order-service", "GET", "/api/v1/orders/", json={"count": 0, "results": []})
    answer = endpoint.call(client_of(role), BODIES.get(str(endpoint)), pk=owner.pk)
    assert answer.status_code == status, answer.content


def test_the_table_is_the_whole() -> None:
    """An endpoint that the table does not name fails here, before anybody forgets who may use it."""
    POLICY.assert_complete()


@pytest.mark.parametrize("endpoint", POLICY.others())
def test_other_methods_are_not_allowed(endpoint: Endpoint, owner: User, client_of: Callable[[str], APIClient]) -> None:
    """A method that a route does not know gets 405 with a problem document, whoever asks."""
    for role in ("staff", "anonymous"):
        answer = endpoint.call(client_of(role), pk=owner.pk)
        assert answer.status_code == 405
        assert answer["Content-Type"] == "application/problem+json"


def test_a_token_of_nobody_is_refused(api_client: APIClient, owner: User) -> None:
    """A bearer token that is none gives 401 and says which kind is expected."""
    for token in ("", "x", "a.b.c", "Bearer", "é"):
        response = api_client.get(f"/api/v1/users/{owner.pk}/", HTTP_AUTHORIZATION=f"Bearer {token}")
        assert response.status_code == 401, token
        assert response["WWW-Authenticate"] == "Bearer"
