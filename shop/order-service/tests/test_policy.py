"""Who may use which endpoint: the whole table, and proof that it is the whole."""

import uuid
from collections.abc import Callable
from typing import Any, Final

import pytest
from bandstand.testing.policies import Endpoint, PolicyMatrix
from rest_framework.test import APIClient

from orders.models import Order
from tests.conftest import BODY

pytestmark = pytest.mark.django_db

# Another user's order is as if it did not exist; staff looks at all and changes none. A service that is on the list of
# callers is nobody in particular: it sees something only on behalf of a user, whose token it passes on.
POLICY: Final = PolicyMatrix(
    roles=("owner", "other", "anonymous", "staff", "service", "wrong_service"),
    rows={
        "GET /api/v1/orders/": (200, 200, 401, 200, 401, 403),
        "POST /api/v1/orders/": (201, 403, 401, 403, 401, 403),
        "GET /api/v1/orders/{pk}/": (200, 404, 401, 200, 401, 403),
        "POST /api/v1/orders/{pk}/cancel/": (200, 404, 401, 403, 401, 403),
    },
)


@pytest.mark.parametrize(("endpoint", "role", "status"), POLICY.cells())
def test_the_table_holds(
    endpoint: Endpoint,
    role: str,
    status: int,
    *,
    make_order: Callable[..., Order],
    as_role: Callable[..., APIClient],
    others: Any,
) -> None:
    """Every endpoint answers every kind of caller as the table says; the user service knows the owner alone."""
    others.on("user-service", "GET", "/api/v1/users/{id}/", status=404, json={})
    order = make_order()
    others.on("user-service", "GET", f"/api/v1/users/{order.user_id}/", json=user_of(order))
    body = BODY if str(endpoint) == "POST /api/v1/orders/" else None
    client = as_role(role, order.user_id)
    answer = endpoint.call(client, body, headers={"Idempotency-Key": uuid.uuid4().hex}, pk=order.pk)
    assert answer.status_code == status, answer.content


def user_of(order: Order) -> dict[str, object]:
    return {"id": str(order.user_id), "email": order.user_email, "is_active": True}


def test_the_table_is_the_whole() -> None:
    """An endpoint that the table does not name fails here, before anybody forgets who may use it."""
    POLICY.assert_complete()


@pytest.mark.parametrize("endpoint", POLICY.others())
def test_other_methods_are_not_allowed(
    endpoint: Endpoint, make_order: Callable[..., Order], as_role: Callable[..., APIClient]
) -> None:
    """A method that a route does not know gets 405 with a problem document, whoever asks."""
    order = make_order()
    for role in ("owner", "staff", "anonymous"):
        answer = endpoint.call(as_role(role, order.user_id), pk=order.pk)
        assert answer.status_code == 405
        assert answer["Content-Type"] == "application/problem+json"
