"""Whatever comes in, the answer is never the service's own failure."""

from collections.abc import Callable
from typing import Final

import pytest
from bandstand.testing.bad_input import (
    assert_withstands_bodies,
    assert_withstands_content_types,
    assert_withstands_headers,
    assert_withstands_paths,
    assert_withstands_queries,
)
from rest_framework.test import APIClient

from products.models import Product

pytestmark = pytest.mark.django_db

URL: Final = "/api/v1/products/"
CHAIR: Final = {"sku": "CHAIR-1", "name": "Chair", "description": "To sit on.", "price": "99.00", "is_featured": True}
WRITES: Final = {
    ("POST", URL): {**CHAIR, "inventory_count": 3},
    ("PUT", URL + "{pk}/"): CHAIR,
    ("PATCH", URL + "{pk}/"): CHAIR,
    ("POST", URL + "{pk}/update_inventory/"): {"quantity": 1},
}


@pytest.fixture
def staff(as_role: Callable[..., APIClient]) -> APIClient:
    return as_role("staff")


@pytest.mark.parametrize(("method", "route"), WRITES)
def test_bodies(staff: APIClient, lamp: Product, method: str, route: str) -> None:
    """A body of any kind is refused, or understood, and never breaks anything."""
    assert_withstands_bodies(staff, method, route.format(pk=lamp.pk), example=WRITES[method, route])


@pytest.mark.parametrize(("method", "route"), WRITES)
def test_content_types(staff: APIClient, lamp: Product, method: str, route: str) -> None:
    """A body of another type than JSON is refused."""
    assert set(assert_withstands_content_types(staff, method, route.format(pk=lamp.pk))) == {415}


def test_queries(api_client: APIClient, lamp: Product) -> None:
    """A query of any kind gets a page or a refusal."""
    filters = ("search", "ordering", "is_featured", "in_stock", "min_price", "max_price", "ids", "page", "page_size")
    assert_withstands_queries(api_client, URL, parameters=filters)
    assert_withstands_queries(api_client, URL + "featured/")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_paths(staff: APIClient, lamp: Product, method: str) -> None:
    """A path with an id that is none is not found."""
    assert_withstands_paths(staff, method, URL + "{pk}/")
    assert_withstands_paths(staff, "POST", URL + "{pk}/update_inventory/")


def test_headers(staff: APIClient, lamp: Product) -> None:
    """A header of any kind is refused, or has no effect."""
    names = ("Authorization", "Idempotency-Key", "Accept", "Accept-Language", "X-Correlation-ID", "traceparent")
    route = f"{URL}{lamp.pk}/update_inventory/"
    assert_withstands_headers(staff, "POST", route, names=names, body={"quantity": 1})
