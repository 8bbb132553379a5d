"""A user's orders, which the order service knows."""

from collections.abc import Callable
from typing import Any

import pytest
from bandstand.exceptions import CircuitOpen, ServiceTimeout, ServiceUnavailable
from bandstand.testing.services import FakeServices
from rest_framework.test import APIClient

from users.models import User

pytestmark = pytest.mark.django_db

SignedIn = Callable[[User], APIClient]

ORDERS = "/api/v1/orders/"
ORDER = {"id": "0b6e7c1e-7f0f-4e0f-9f5b-0a4d6a9b3c11", "status": "pending", "total_amount": "19.90", "currency": "EUR"}


def orders_of(client: APIClient, user: User, query: str = "") -> Any:
    return client.get(f"/api/v1/users/{user.pk}/orders/{query}")


def test_the_orders_are_passed_on(alice: User, signed_in: SignedIn, fake_services: FakeServices) -> None:
    """The page of the order service comes as it is, asked for in the user's own name."""
    asked = fake_services.on("order-service", "GET", ORDERS, json={"count": 1, "next": None, "results": [ORDER]})
    response = orders_of(signed_in(alice), alice)
    assert response.status_code == 200, response.content
    assert response.json() == {"count": 1, "next": None, "previous": None, "results": [ORDER]}
    [call] = asked.calls
    assert call.headers["Authorization"] == response.wsgi_request.headers["Authorization"]
    assert call.params == {"user_id": [str(alice.pk)], "page": ["1"]}


def test_links_lead_back_here(alice: User, signed_in: SignedIn, fake_services: FakeServices) -> None:
    """Links to other pages name this endpoint and never the address of a service inside."""
    inside = "http://order-service.internal:8000/api/v1/orders/?page="
    page = {"count": 60, "next": f"{inside}3", "previous": f"{inside}1", "results": [ORDER]}
    asked = fake_services.on("order-service", "GET", ORDERS, json=page)
    body = orders_of(signed_in(alice), alice, "?page=2").json()
    here = f"http://testserver/api/v1/users/{alice.pk}/orders/?page="
    assert (body["next"], body["previous"]) == (f"{here}3", f"{here}1")
    assert asked.calls[0].params["page"] == ["2"]


def test_staff_asks_for_one_user(alice: User, staff: User, signed_in: SignedIn, fake_services: FakeServices) -> None:
    """Staff, whom the order service shows every order, gets here those of the user in the path."""
    asked = fake_services.on("order-service", "GET", ORDERS, json={"count": 0, "results": []})
    assert orders_of(signed_in(staff), alice).status_code == 200
    assert asked.calls[0].params["user_id"] == [str(alice.pk)]


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "٣", "99999999999999999999", ""])
def test_what_is_no_page_is_not_asked_for(
    alice: User, signed_in: SignedIn, fake_services: FakeServices, page: str
) -> None:
    """A page that can't be is not found, without a call."""
    assert orders_of(signed_in(alice), alice, f"?page={page}").status_code == 404
    assert fake_services.calls == []


def test_a_page_behind_the_last_is_not_found(alice: User, signed_in: SignedIn, fake_services: FakeServices) -> None:
    """What the order service does not find is not found here either."""
    fake_services.on("order-service", "GET", ORDERS, status=404, json={"status": 404})
    assert orders_of(signed_in(alice), alice, "?page=9").status_code == 404


@pytest.mark.parametrize(("failure", "status"), [(ServiceTimeout, 504), (ServiceUnavailable, 503), (CircuitOpen, 503)])
def test_a_failing_order_service_is_said(
    alice: User, signed_in: SignedIn, fake_services: FakeServices, failure: Any, status: int
) -> None:
    """When the order service can't be asked or is late, the answer is a problem that says so, and where."""
    fake_services.on("order-service", "GET", ORDERS, raises=failure)
    response = orders_of(signed_in(alice), alice)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == failure.code


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "json": {"detail": "secret of the other service"}},
        {"status": 403, "json": {"detail": "secret of the other service"}},
        {"json": {"count": "many", "results": "secret of the other service"}},
        {"json": ["secret of the other service"]},
        {"json": None},
    ],
)
def test_a_broken_answer_is_a_bad_gateway(
    alice: User, signed_in: SignedIn, fake_services: FakeServices, answer: dict[str, Any]
) -> None:
    """An error or nonsense from the order service is a 502, and its text stays inside."""
    fake_services.on("order-service", "GET", ORDERS, **answer)
    response = orders_of(signed_in(alice), alice)
    assert response.status_code == 502, response.content
    assert b"secret" not in response.content
