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
from bandstand.testing.services import FakeServices
from django.core.cache import cache
from rest_framework.test import APIClient

from users.models import User

pytestmark = pytest.mark.django_db

URL: Final = "/api/v1/users/"
ADA: Final = {
    "email": "ada@example.com", "username": "ada", "password": "correct horse battery", "first_name": "Ada",
    "phone_number": "+493012345", "date_of_birth": "1990-12-31",
}  # fmt: skip
PROFILE: Final = {"bio": "Hello.", "website": "https://ada.example.com", "preferences": {"theme": {"dark": True}}}
WRITES: Final = {
    ("POST", URL): ADA,
    ("POST", URL + "authenticate/"): {"email": "ada@example.com", "password": "x"},
    ("POST", URL + "token/refresh/"): {"refresh": "x"},
    ("POST", URL + "token/revoke/"): {"refresh": "x"},
    ("PUT", URL + "{pk}/"): ADA,
    ("PATCH", URL + "{pk}/"): ADA,
    ("PUT", URL + "{pk}/profile/"): PROFILE,
    ("POST", URL + "{pk}/change_password/"): {"old_password": "x", "new_password": "another horse battery"},
}


@pytest.fixture
def client(staff: User, signed_in: Callable[[User], APIClient]) -> APIClient:
    return signed_in(staff)


def unthrottled() -> dict[str, str]:
    """Forget the tries of before, so that each request reaches the view."""
    cache.clear()
    return {}


@pytest.mark.parametrize(("method", "route"), WRITES)
def test_bodies(client: APIClient, staff: User, method: str, route: str) -> None:
    """A body of any kind to any write is refused, or understood, and never breaks anything."""
    example = WRITES[method, route]
    assert_withstands_bodies(client, method, route.format(pk=staff.pk), example=example, headers=unthrottled)
    assert User.objects.get().email == "staff@example.com"


@pytest.mark.parametrize(("method", "route"), WRITES)
def test_content_types(client: APIClient, staff: User, method: str, route: str) -> None:
    """A body of another type than JSON is refused."""
    sent = assert_withstands_content_types(client, method, route.format(pk=staff.pk), headers=unthrottled)
    assert set(sent) == {415}


def test_queries(client: APIClient) -> None:
    """A query of any kind gets a page or a refusal."""
    assert_withstands_queries(client, URL, parameters=("search", "ordering", "page", "page_size"))


@pytest.mark.parametrize("route", ["{pk}/", "{pk}/profile/", "{pk}/orders/"])
def test_paths(client: APIClient, route: str, fake_services: FakeServices) -> None:
    """A path with an id that is none is not found."""
    fake_services.on("order-service", "GET", "/api/v1/orders/", status=404, json={})
    assert_withstands_paths(client, "GET", URL + route)


def test_headers(client: APIClient, staff: User) -> None:
    """A header of any kind is refused, or has no effect."""
    names = ("Authorization", "Accept", "X-Correlation-ID", "traceparent", "X-Service-Token", "X-Forwarded-For")
    assert_withstands_headers(client, "GET", f"{URL}{staff.pk}/", names=names)
