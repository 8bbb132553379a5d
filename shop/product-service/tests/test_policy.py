"""Who may use which endpoint: the whole table, and proof that it is the whole."""

from collections.abc import Callable
from typing import Final

import pytest
from bandstand.testing.policies import Endpoint, PolicyMatrix
from rest_framework.test import APIClient

from products.models import Product

pytestmark = pytest.mark.django_db

# Bodies that do what is asked for, so that a refusal is about who asks.
CHAIR: Final = {"sku": "CHAIR-1", "name": "Chair", "price": "99.00"}
BODIES: Final = {
    "POST /api/v1/products/": CHAIR,
    "PUT /api/v1/products/{pk}/": CHAIR,
    "PATCH /api/v1/products/{pk}/": {"name": "Stool"},
    "POST /api/v1/products/{pk}/update_inventory/": {"quantity": 1},
}

# A service that is not on the list of callers is refused before any endpoint is reached. One that is on it is nobody
# in particular: stock changes for orders by events, so that no service need write here.
POLICY: Final = PolicyMatrix(
    roles=("other", "anonymous", "staff", "service", "wrong_service"),
    rows={
        "GET /api/v1/products/": (200, 200, 200, 200, 403),
        "POST /api/v1/products/": (403, 401, 201, 401, 403),
        "GET /api/v1/products/featured/": (200, 200, 200, 200, 403),
        "GET /api/v1/products/{pk}/": (200, 200, 200, 200, 403),
        "PUT /api/v1/products/{pk}/": (403, 401, 200, 401, 403),
        "PATCH /api/v1/products/{pk}/": (403, 401, 200, 401, 403),
        "DELETE /api/v1/products/{pk}/": (403, 401, 204, 401, 403),
        "POST /api/v1/products/{pk}/update_inventory/": (403, 401, 200, 401, 403),
    },
)


@pytest.mark.parametrize(("endpoint", "role", "status"), POLICY.cells())
def test_the_table_holds(
    endpoint: Endpoint, role: str, status: int, *, lamp: Product, as_role: Callable[..., APIClient]
) -> None:
    """Every endpoint answers every kind of caller as the table says."""
    answer = endpoint.call(as_role(role), BODIES.get(str(endpoint)), pk=lamp.pk)
    assert answer.status_code == status, answer.content


def test_the_table_is_the_whole() -> None:
    """An endpoint that the table does not name fails here, before anybody forgets who may use it."""
    POLICY.assert_complete()


@pytest.mark.parametrize("endpoint", POLICY.others())
def test_other_methods_are_not_allowed(endpoint: Endpoint, lamp: Product, as_role: Callable[..., APIClient]) -> None:
    """A method that a route does not know gets 405 with a problem document, whoever asks."""
    for role in ("staff", "anonymous"):
        answer = endpoint.call(as_role(role), pk=lamp.pk)
        assert answer.status_code == 405
        assert answer["Content-Type"] == "application/problem+json"
