"""What staff sees in the admin."""

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from orders.models import Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("page", ["", "orders/order/", "orders/order/?q=a%27", "orders/order/?status__exact=pending"])
def test_the_pages_open(admin: Client, make_order: Callable[..., Order], page: str) -> None:
    """Each page of the admin answers."""
    make_order()
    assert admin.get(f"/admin/{page}").status_code == 200


def test_orders_are_looked_at(admin: Client, make_order: Callable[..., Order]) -> None:
    """An order shows what was bought, and nobody changes, deletes or adds one by hand."""
    order = make_order()
    page = f"/admin/orders/order/{order.pk}/"
    shown = admin.get(f"{page}change/")
    assert shown.status_code == 200
    assert b"Desk lamp" in shown.content
    assert admin.post(f"{page}change/", {"status": "confirmed"}).status_code == 403
    assert admin.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert admin.get("/admin/orders/order/add/").status_code == 403
    admin.post("/admin/orders/order/", {"action": "delete_selected", "_selected_action": [order.pk], "post": "yes"})
    order.refresh_from_db()
    assert order.status == Order.Status.PENDING
