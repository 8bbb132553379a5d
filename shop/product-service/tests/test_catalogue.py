"""The catalogue as everybody reads it and staff writes it."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from products.models import Product

pytestmark = pytest.mark.django_db

URL = "/api/v1/products/"
NEW = {"sku": "CHAIR-1", "name": "Chair", "description": "To sit on.", "price": "99.00", "inventory_count": 3}


def test_the_wire_of_a_product(api_client: APIClient, lamp: Product) -> None:
    """A product has exactly the fields that clients are written for; money is a decimal as text."""
    product = api_client.get(f"{URL}{lamp.pk}/").json()
    assert set(product) == {
        "id", "sku", "name", "description", "price", "currency", "inventory_count", "is_featured",
        "created_at", "updated_at",
    }  # fmt: skip
    assert (product["price"], product["currency"], product["inventory_count"]) == ("19.90", "EUR", 10)


def test_lists_are_paged(api_client: APIClient, make_product: Callable[..., Product]) -> None:
    """Twenty a page, each product once, also where they are equal in what they are ordered by."""
    for _ in range(45):
        make_product(price="5.00")
    seen: list[str] = []
    url = f"{URL}?ordering=price"
    while url:
        page = api_client.get(url).json()
        assert page["count"] == 45
        seen += [product["id"] for product in page["results"]]
        url = page["next"]
    assert len(seen) == len(set(seen)) == 45


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("search=desk", ["Desk lamp"]),
        ("search=OAK", ["Desk lamp"]),
        ("search=plant-1", ["Fern"]),
        ("search=lamp desk", ["Desk lamp"]),
        ("search=100%25", []),
        ("min_price=20", ["Desk lamp", "Sofa"]),
        ("max_price=49.90", ["Desk lamp", "Fern"]),
        ("min_price=10&max_price=50", ["Desk lamp"]),
        ("is_featured=true", ["Sofa"]),
        ("in_stock=false", ["Fern"]),
        ("ordering=-price", ["Sofa", "Desk lamp", "Fern"]),
        ("ordering=price", ["Fern", "Desk lamp", "Sofa"]),
    ],
)
def test_search_and_filters(
    api_client: APIClient, make_product: Callable[..., Product], query: str, names: list[str]
) -> None:
    """Products are found by words, price, stock and prominence, and come in the order that is asked for."""
    make_product(name="Desk lamp", description="Base of oak.", price="49.90")
    make_product(name="Fern", sku="PLANT-1", price="9.90", inventory_count=0)
    make_product(name="Sofa", price="499.00", is_featured=True)
    assert [product["name"] for product in api_client.get(f"{URL}?{query}").json()["results"]] == names


def test_many_ids_are_one_request(api_client: APIClient, make_product: Callable[..., Product]) -> None:
    """Another service asks for all products of an order at once; an unknown id is just not there."""
    first, _, third = make_product(), make_product(), make_product()
    answer = api_client.get(URL, {"ids": f"{first.pk},{third.pk},{uuid.uuid4()}"}).json()
    assert {product["id"] for product in answer["results"]} == {str(first.pk), str(third.pk)}


def test_a_list_costs_two_queries(
    api_client: APIClient, make_product: Callable[..., Product], django_assert_num_queries: Any
) -> None:
    """However many products a page has, it takes one query for them and one for their count."""
    for _ in range(20):
        make_product()
    with django_assert_num_queries(2):
        api_client.get(URL)


@pytest.mark.parametrize(
    "query",
    [
        "min_price=abc", "max_price=1e999", "max_price=NaN", "min_price=" + "9" * 5000, "ids=abc",
        "ids=" + ",".join(["x"] * 200), "search=%00", "page=0", "page=-1", "page=abc", "page=99999999999999999999",
        "page_size=abc", "ordering=%00", "min_price=%F0%9F%98%80", "search=%ED%A0%80", "is_featured=%00",
    ],
)  # fmt: skip
def test_garbage_in_the_query_is_never_our_failure(api_client: APIClient, lamp: Product, query: str) -> None:
    """What can't be understood is refused with a problem document, or has no effect."""
    answer = api_client.get(f"{URL}?{query}")
    assert answer.status_code < 500
    if answer.status_code != 200:
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", [f"{URL}abc/", f"{URL}{uuid.uuid4()}/", f"{URL}%00/", f"{URL}featured/x/"])
def test_what_is_not_there_is_404(api_client: APIClient, path: str) -> None:
    """An unknown product, and what is no product's address at all."""
    answer = api_client.get(path)
    assert answer.status_code in {400, 404}
    assert answer["Content-Type"] == "application/problem+json"


def test_staff_adds_and_changes(as_user: Callable[..., APIClient]) -> None:
    """Staff adds a product with its first stock, and changes its text and price."""
    staff = as_user(uuid.uuid4(), staff=True)
    added = staff.post(URL, NEW)
    assert added.status_code == 201, added.json()
    changed = staff.patch(f"{URL}{added.json()['id']}/", {"price": "89.00"})
    assert changed.json()["price"] == "89.00"


def test_changing_a_product_never_writes_its_stock(as_user: Callable[..., APIClient], lamp: Product) -> None:
    """Whoever edits a text while orders come in does not put sold pieces back."""
    staff = as_user(uuid.uuid4(), staff=True)
    body = {"sku": lamp.sku, "name": "New name", "price": "20.00", "inventory_count": 9999}
    answer = staff.put(f"{URL}{lamp.pk}/", body)
    assert answer.json()["name"] == "New name"
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10


@pytest.mark.parametrize(
    "fault",
    [
        {"price": "0"}, {"price": "-1"}, {"price": "1.999"}, {"price": "99999999999"}, {"price": "NaN"},
        {"price": None}, {"sku": "no spaces"}, {"sku": ""}, {"name": ""}, {"name": "x" * 201},
        {"inventory_count": -1}, {"inventory_count": 2147483648}, {"inventory_count": "many"}, {"sku": ["a"]},
        {"name": "a\u0000b"}, {"is_featured": "perhaps"},
    ],
)  # fmt: skip
def test_a_wrong_product_is_refused(as_user: Callable[..., APIClient], fault: dict[str, Any]) -> None:
    """Each fault of a field is named; nothing is stored."""
    answer = as_user(uuid.uuid4(), staff=True).post(URL, {**NEW, **fault})
    assert answer.status_code == 400, answer.json()
    assert not Product.objects.exists()


def test_nobody_sets_what_the_shop_decides(as_user: Callable[..., APIClient]) -> None:
    """Id, currency and times in a body have no effect, not even for staff."""
    mine = str(uuid.uuid4())
    body = {**NEW, "id": mine, "currency": "XXX", "created_at": "2000-01-01T00:00:00Z"}
    added = as_user(uuid.uuid4(), staff=True).post(URL, body).json()
    assert added["id"] != mine
    assert added["currency"] == "EUR"
    assert not added["created_at"].startswith("2000")


@pytest.mark.parametrize(
    ("quantity", "status", "count"),
    [(5, 200, 15), (-10, 200, 0), (-11, 409, 10), (0, 200, 10), (2147483647, 409, 10), (2147483648, 400, 10),
     (-2147483648, 400, 10), ("1.5", 400, 10), (None, 400, 10), ([], 400, 10), (True, 400, 10)],
)  # fmt: skip
def test_the_stock_changes_by_a_signed_number(
    as_user: Callable[..., APIClient], lamp: Product, quantity: object, status: int, count: int
) -> None:
    """A change is added; below zero, or above what a stock can be, it is refused and nothing changes."""
    answer = as_user(uuid.uuid4(), staff=True).post(f"{URL}{lamp.pk}/update_inventory/", {"quantity": quantity})
    assert answer.status_code == status, answer.json()
    lamp.refresh_from_db()
    assert lamp.inventory_count == count
    if status == 200:
        assert answer.json() == {"inventory_count": count}


def test_the_demonstration_has_a_catalogue() -> None:
    """At least fifty products in stock, loaded once however often the command runs, and keeping their stock."""
    call_command("seed_demo", verbosity=0)
    loaded = Product.objects.count()
    assert loaded >= 50
    sold = Product.objects.order_by("sku")[0]
    Product.objects.filter(pk=sold.pk).update(inventory_count=1)
    call_command("seed_demo", verbosity=0)
    assert Product.objects.count() == loaded
    assert Product.objects.get(pk=sold.pk).inventory_count == 1
    for product in Product.objects.all():
        product.full_clean()
