"""An order is placed once, at the shop's own prices, for somebody who exists."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from bandstand.exceptions import ServiceTimeout
from django.db import connections
from rest_framework.test import APIClient

from orders.models import Order, OrderItem
from tests.conftest import LAMP, PEN

pytestmark = pytest.mark.django_db

URL = "/api/v1/orders/"
BODY = {"items": [{"product_id": LAMP["id"], "quantity": 2}, {"product_id": PEN["id"], "quantity": 3}]}


def place(client: APIClient, body: object = BODY, *, key: str | None = None) -> Any:
    headers = {"Idempotency-Key": uuid.uuid4().hex if key is None else key}
    return client.post(URL, body, headers=headers if headers["Idempotency-Key"] else {})


def test_the_wire_of_a_new_order(buyer: APIClient, others: Any, published_events: Callable[..., list[Any]]) -> None:
    """A pending order with names and prices as they were sold, its total computed here, and announced."""
    answer = place(buyer)
    assert answer.status_code == 201, answer.json()
    order = answer.json()
    assert order["status"] == "pending"
    assert order["items"] == [
        {"product_id": LAMP["id"], "name": "Desk lamp", "unit_price": "49.90", "quantity": 2},
        {"product_id": PEN["id"], "name": "Pen", "unit_price": "0.10", "quantity": 3},
    ]
    assert (order["total_amount"], order["currency"], order["user_email"]) == ("100.10", "EUR", "ada@example.com")
    assert order["created_at"]
    [event] = published_events()
    assert (event.type, event.key) == ("order.placed", order["id"])
    assert event.data["items"][1] == {"product_id": PEN["id"], "quantity": 3}
    assert event.data["total_amount"] == "100.10"


def test_an_order_costs_two_calls(buyer: APIClient, others: Any) -> None:
    """However many products, the others are asked once each."""
    place(buyer)
    assert Counter(call.service for call in others.calls) == {"user-service": 1, "product-service": 1}


def test_the_client_says_no_price(buyer: APIClient, others: Any, user_id: str) -> None:
    """Prices, totals, status and owner in a body have no effect."""
    forged = {
        "items": [{**BODY["items"][0], "unit_price": "0.01", "name": "Free", "price": "0.01"}],
        "total_amount": "0.01", "status": "confirmed", "user_id": str(uuid.uuid4()), "id": str(uuid.uuid4()),
        "user_email": "evil@example.com", "currency": "XXX", "reason": "x",
    }  # fmt: skip
    order = place(buyer, forged).json()
    assert (order["total_amount"], order["status"], order["currency"]) == ("99.80", "pending", "EUR")
    assert order["user_email"] == "ada@example.com"
    assert str(Order.objects.get().user_id) == user_id
    assert order["id"] != forged["id"]


def test_the_same_key_is_the_same_order(buyer: APIClient, others: Any) -> None:
    """A repetition gets the first answer, byte for byte; another body under the key is refused."""
    first, second = place(buyer, key="key-1"), place(buyer, key="key-1")
    assert second.content == first.content
    assert second.status_code == 201
    other = {"items": [{"product_id": LAMP["id"], "quantity": 1}]}
    assert place(buyer, other, key="key-1").status_code == 422
    assert Order.objects.count() == 1


def test_a_repetition_is_answered_while_the_others_are_down(buyer: APIClient, others: Any) -> None:
    """What was ordered is known here: nobody else need be asked again."""
    first = place(buyer, key="key-1")
    calls = len(others.calls)
    assert place(buyer, key="key-1").content == first.content
    assert len(others.calls) == calls


def test_a_key_is_required(buyer: APIClient, others: Any) -> None:
    """An order that could be placed twice by accident is not placed at all."""
    answer = place(buyer, key="")
    assert answer.status_code == 400
    assert answer.json()["code"] == "idempotency_key_missing"


def test_a_key_belongs_to_its_user(as_user: Callable[..., APIClient], buyer: APIClient, others: Any) -> None:
    """Two users may choose the same key, and none sees the other's order."""
    mine = place(buyer, key="key-1").json()
    stranger = str(uuid.uuid4())
    user = {"id": stranger, "email": "eve@example.com", "is_active": True}
    others.on("user-service", "GET", f"/api/v1/users/{stranger}/", json=user)
    theirs = place(as_user(stranger), key="key-1")
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine["id"]


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_with_one_key_are_one_order(buyer: APIClient, others: Any) -> None:
    """Of many requests with one key at the same time one places the order; the others are told, or get its answer."""
    barrier = threading.Barrier(20)
    statuses: list[int] = []
    ids: set[str] = set()

    def run() -> None:
        try:
            barrier.wait()
            answer = place(buyer, key="key-1")
            statuses.append(answer.status_code)
            if answer.status_code == 201:
                ids.add(answer.json()["id"])
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {201, 409}
    assert len(statuses) == 20
    assert len(ids) == Order.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {}, [], None, "items", {"items": None}, {"items": []}, {"items": {}}, {"items": "all"}, {"items": [1]},
        {"items": [{}]}, {"items": [{"product_id": LAMP["id"]}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 0}]},
        {"items": [{"product_id": LAMP["id"], "quantity": -1}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 1001}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 1.5}]},
        {"items": [{"product_id": LAMP["id"], "quantity": "many"}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 10**30}]},
        {"items": [{"product_id": "abc", "quantity": 1}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 1}] * 2},
        {"items": [{"product_id": str(uuid.uuid4()), "quantity": 1} for _ in range(51)]},
        {"items": [{"product_id": "\u0000", "quantity": 1}]},
    ],
)  # fmt: skip
def test_a_wrong_order_is_refused(buyer: APIClient, others: Any, body: object) -> None:
    """Whatever is wrong is named in a problem document; nobody is asked and nothing is stored."""
    answer = place(buyer, body)
    assert answer.status_code == 400, answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert others.calls == []
    assert not Order.objects.exists()


def test_an_unknown_product_is_refused(buyer: APIClient, others: Any) -> None:
    """A product that the catalogue does not have is named."""
    unknown = str(uuid.uuid4())
    answer = place(buyer, {"items": [{"product_id": unknown, "quantity": 1}]})
    assert answer.status_code == 400
    assert unknown in str(answer.json()["errors"])


@pytest.mark.parametrize("status", [404, 200])
def test_who_has_no_account_any_more_buys_nothing(
    buyer: APIClient, fake_services: Any, user_id: str, status: int
) -> None:
    """A token outlives its account by minutes; the order service asks."""
    user = {"id": user_id, "email": "ada@example.com", "is_active": False}
    fake_services.on("user-service", "GET", f"/api/v1/users/{user_id}/", json=user, status=status)
    assert place(buyer).status_code == 403
    assert not Order.objects.exists()


def test_a_slow_user_service_is_504_and_nothing_is_stored(buyer: APIClient, fake_services: Any, user_id: str) -> None:
    """When the others do not answer there is no order, and the same key works later."""
    fake_services.on("user-service", "GET", f"/api/v1/users/{user_id}/", raises=ServiceTimeout)
    answer = place(buyer, key="key-1")
    assert answer.status_code == 504
    assert answer["Content-Type"] == "application/problem+json"
    assert not Order.objects.exists()


def test_an_order_and_its_event_are_one(
    buyer: APIClient, others: Any, published_events: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the items can't be stored there is no order, no event and no answer under the key."""
    with monkeypatch.context() as patch:
        patch.setattr(OrderItem.objects, "bulk_create", lambda _: 1 / 0)
        assert place(buyer, key="key-1").status_code == 500
    assert not Order.objects.exists()
    assert published_events() == []
    assert place(buyer, key="key-1").status_code == 201
