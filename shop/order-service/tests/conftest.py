"""What the tests of the order service share: a user service and a product service played by rules."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from orders.models import Order, OrderItem

LAMP = {"id": str(uuid.uuid4()), "name": "Desk lamp", "price": "49.90", "currency": "EUR"}
PEN = {"id": str(uuid.uuid4()), "name": "Pen", "price": "0.10", "currency": "EUR"}

URL = "/api/v1/orders/"
BODY = {"items": [{"product_id": LAMP["id"], "quantity": 2}, {"product_id": PEN["id"], "quantity": 3}]}


@pytest.fixture
def user_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def buyer(as_user: Callable[..., APIClient], user_id: str) -> APIClient:
    """Return a client that is signed in."""
    return as_user(user_id)


@pytest.fixture
def others(fake_services: Any, user_id: str) -> Any:
    """Let the user service know the buyer, and the product service a lamp and a pen."""
    user = {"id": user_id, "email": "ada@example.com", "is_active": True, "username": "ada"}
    fake_services.on("user-service", "GET", f"/api/v1/users/{user_id}/", json=user)
    fake_services.on("product-service", "GET", "/api/v1/products/", json=catalogue)
    return fake_services


def catalogue(call: Any) -> dict[str, Any]:
    """Answer with those products whose ids are asked for, as the product service does."""
    wanted = ",".join(call.params["ids"]).split(",")
    found = [product for product in (LAMP, PEN) if product["id"] in wanted]
    return {"count": len(found), "next": None, "previous": None, "results": found}


@pytest.fixture
def place() -> Callable[..., Any]:
    """Return a function that orders lamps and pens, under a new key unless one is given."""

    def send(client: APIClient, body: object = BODY, *, key: str | None = None) -> Any:
        headers = {"Idempotency-Key": uuid.uuid4().hex if key is None else key}
        return client.post(URL, body, headers=headers if headers["Idempotency-Key"] else {})

    return send


@pytest.fixture
def make_order(db: None, user_id: str) -> Callable[..., Order]:
    """Return a function that saves an order; everything can be given, nothing must."""

    def make(**fields: Any) -> Order:
        order = Order.objects.create(
            **{
                "user_id": user_id,
                "user_email": "ada@example.com",
                "total_amount": "49.90",
                "currency": "EUR",
                **fields,
            }
        )
        OrderItem.objects.create(
            order=order, position=0, product_id=LAMP["id"], name="Desk lamp", unit_price="49.90", quantity=1
        )
        return order

    return make
