"""What staff does in the admin."""

from collections.abc import Callable
from typing import Any

import pytest
from bandstand.events import Event
from django.contrib.auth import get_user_model
from django.db.models import F
from django.test import Client

from products.events import OrderedItem, OrderPlaced
from products.models import Product, Reservation

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


@pytest.fixture
def reservation(lamp: Product, receive_event: Callable[..., int]) -> Reservation:
    order: Event = OrderPlaced(order_id=lamp.pk, user_id=lamp.pk, items=[OrderedItem(product_id=lamp.pk, quantity=3)])
    receive_event(order, key="k", source="order-service")
    return Reservation.objects.get()


def form(product: Product, **changes: Any) -> dict[str, Any]:
    names = ("sku", "name", "description", "price")
    return {**{name: getattr(product, name) for name in names}, **changes}


@pytest.mark.parametrize(
    "page", ["", "products/product/", "products/product/add/", "products/product/?q=a%27", "products/reservation/?q=a"]
)
def test_the_pages_open(admin: Client, reservation: Reservation, page: str) -> None:
    """Each page of the admin answers."""
    assert admin.get(f"/admin/{page}").status_code == 200


def test_a_product_is_added_with_its_first_stock(admin: Client, lamp: Product) -> None:
    """A new product says how many there are."""
    answer = admin.post("/admin/products/product/add/", form(lamp, sku="CHAIR-1", inventory_count=3))
    assert answer.status_code == 302, answer.content
    assert Product.objects.get(sku="CHAIR-1").inventory_count == 3


def test_a_changed_product_keeps_what_was_sold_meanwhile(
    admin: Client, lamp: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sale between reading the row and writing it is not undone, whatever the form says of the stock."""
    save = Product.save

    def sell_and_save(self: Product, **options: Any) -> None:
        Product.objects.filter(pk=self.pk).update(inventory_count=F("inventory_count") - 1)
        save(self, **options)

    monkeypatch.setattr(Product, "save", sell_and_save)
    answer = admin.post(f"/admin/products/product/{lamp.pk}/change/", form(lamp, name="New", inventory_count=99))
    assert answer.status_code == 302, answer.content
    lamp.refresh_from_db()
    assert (lamp.name, lamp.inventory_count) == ("New", 9)


def test_reservations_are_looked_at(admin: Client, reservation: Reservation) -> None:
    """A reservation shows what it holds, and nobody changes, deletes or adds one by hand."""
    page = f"/admin/products/reservation/{reservation.pk}/"
    shown = admin.get(f"{page}change/")
    assert shown.status_code == 200
    assert b"LAMP-0001" in shown.content
    assert admin.post(f"{page}change/", {"state": "released"}).status_code == 403
    assert admin.post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert admin.get("/admin/products/reservation/add/").status_code == 403
    reservation.refresh_from_db()
    assert reservation.state == Reservation.State.HELD


def test_a_product_with_orders_is_kept(admin: Client, lamp: Product, reservation: Reservation) -> None:
    """What orders tell of can't be deleted."""
    assert admin.post(f"/admin/products/product/{lamp.pk}/delete/", {"post": "yes"}).status_code in {200, 403}
    assert Product.objects.filter(pk=lamp.pk).exists()
