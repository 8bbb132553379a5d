"""The catalogue as everybody reads it and staff writes it."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from bandstand.testing.races import run_at_once
from django.core.management import call_command
from rest_framework.test import APIClient

from products.events import OrderedItem, OrderPlaced
from products.models import Product

pytestmark = pytest.mark.django_db

URL = "/api/v1/products/"
NEW = {"sku": "CHAIR-1", "name": "Chair", "description": "To sit on.", "price": "99.00", "inventory_count": 3}


def test_the_wire_of_a_product(api_client: APIClient, lamp: Product) -> None:
    """A product has exactly the fields that clients are written for; money is a decimal as text."""
    product = api_client.get(f"{URL}{lamp.pk}/").json()
    assert set(product) == {
        "id", "sku", "name", "description", "price", "currency", "inventory_count", "customer_limit", "is_featured",
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
        ("is_featured=FALSE", ["Desk lamp", "Fern"]),
        ("is_featured=", ["Desk lamp", "Fern", "Sofa"]),
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


def test_what_is_featured_is_paged_and_ordered(api_client: APIClient, make_product: Callable[..., Product]) -> None:
    """The products that the shop shows first are a list like any other, of featured ones alone."""
    shown = [str(make_product(is_featured=True).pk) for _ in range(25)]
    make_product()
    page = api_client.get(f"{URL}featured/").json()
    assert set(page) == {"count", "next", "previous", "results"}
    assert (page["count"], len(page["results"])) == (25, 20)
    following = api_client.get(page["next"]).json()["results"]
    assert {product["id"] for product in [*page["results"], *following]} == set(shown)
    newest = api_client.get(f"{URL}featured/?ordering=-created_at").json()["results"][0]
    assert newest["id"] == shown[-1]


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
        "min_price=abc",
        "max_price=NaN",
        "is_featured=perhaps",
        "ids=1",
        "in_stock=2",
        "min_price=1e999",
        "min_price=1_0",
    ],
)
def test_a_filter_that_can_not_be_read_is_refused(api_client: APIClient, lamp: Product, query: str) -> None:
    """Which parameter is wrong is said; one that was ignored would show more than was asked for."""
    answer = api_client.get(f"{URL}?{query}")
    assert answer.status_code == 400, answer.json()
    assert answer.json()["errors"][0]["field"].partition(".")[0] == query.partition("=")[0]


def test_staff_adds_and_changes(as_user: Callable[..., APIClient]) -> None:
    """Staff adds a product with its first stock, and changes its text and price."""
    staff = as_user(uuid.uuid4(), staff=True)
    added = staff.post(URL, NEW)
    assert added.status_code == 201, added.json()
    changed = staff.patch(f"{URL}{added.json()['id']}/", {"price": "89.00"})
    assert changed.json()["price"] == "89.00"


WRITABLE = {"sku", "name", "description", "price", "customer_limit", "is_featured"}
DECIDED = sorted({field.name for field in Product._meta.get_fields()} - WRITABLE)
VALUES = {"id": str(uuid.uuid4()), "currency": "XXX", "inventory_count": 9999, "reserved_items": []}


@pytest.mark.parametrize("method", ["put", "patch"])
@pytest.mark.parametrize("field", DECIDED)
def test_nobody_sets_what_the_shop_decides(
    as_user: Callable[..., APIClient], lamp: Product, method: str, field: str
) -> None:
    """Whatever field of the model a body names beside those that staff writes, it changes nothing: the stock above all.

    Whoever edits a text while orders come in does not put sold pieces back.
    """
    before = Product.objects.values().get()
    body = {"sku": lamp.sku, "name": "New name", "price": "19.90", field: VALUES.get(field, "2000-01-01T00:00:00Z")}
    answer = getattr(as_user(uuid.uuid4(), staff=True), method)(f"{URL}{lamp.pk}/", body)
    assert answer.status_code == 200, answer.json()
    after = Product.objects.values().get()
    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == {**before, "name": "New name"}


def test_a_change_writes_only_what_it_names(as_user: Callable[..., APIClient], lamp: Product) -> None:
    """A change of one field leaves the others as somebody else wrote them."""
    staff = as_user(uuid.uuid4(), staff=True)
    assert staff.patch(f"{URL}{lamp.pk}/", {"price": "20.00"}).json()["name"] == lamp.name
    assert staff.patch(f"{URL}{lamp.pk}/", {}).status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"price": "0"}, {"price": "-1"}, {"price": "1.999"}, {"price": "99999999999"}, {"price": "NaN"},
        {"price": "1_0"}, {"price": " 1"},
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


def test_a_new_product_has_what_the_shop_decides(as_user: Callable[..., APIClient]) -> None:
    """Id, currency and times in a body have no effect, not even for staff."""
    mine = str(uuid.uuid4())
    body = {**NEW, "id": mine, "currency": "XXX", "created_at": "2000-01-01T00:00:00Z"}
    added = as_user(uuid.uuid4(), staff=True).post(URL, body).json()
    assert added["id"] != mine
    assert added["currency"] == "EUR"
    assert not added["created_at"].startswith("2000")


def test_a_sku_is_taken_once(
    as_user: Callable[..., APIClient], make_product: Callable[..., Product], lamp: Product
) -> None:
    """Neither a new nor a changed product takes the SKU of another."""
    staff, other = as_user(uuid.uuid4(), staff=True), make_product()
    for refused in (
        staff.post(URL, {**NEW, "sku": lamp.sku}),
        staff.patch(f"{URL}{other.pk}/", {"sku": lamp.sku}),
    ):
        assert refused.status_code == 400, refused.json()
        assert refused.json()["errors"][0]["code"] == "unique"


@pytest.mark.django_db(transaction=True)
def test_a_sku_is_taken_once_in_a_race(as_user: Callable[..., APIClient]) -> None:
    """Of four who add the same SKU at once one succeeds, and the others are told the field."""
    staff = as_user(uuid.uuid4(), staff=True)
    answers = run_at_once(4, lambda _: staff.post(URL, NEW))
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]
    refused = next(answer for answer in answers if answer.status_code == 400)
    assert [fault["field"] for fault in refused.json()["errors"]] == ["sku"]


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


def test_a_repeated_change_of_stock_counts_once(as_user: Callable[..., APIClient], lamp: Product) -> None:
    """Who is not sure whether a delivery was booked books it again under the same key."""
    staff = as_user(uuid.uuid4(), staff=True)
    for _ in range(2):
        answer = staff.post(
            f"{URL}{lamp.pk}/update_inventory/", {"quantity": 5}, headers={"Idempotency-Key": "delivery-7"}
        )
        assert answer.json() == {"inventory_count": 15}
    lamp.refresh_from_db()
    assert lamp.inventory_count == 15


def test_what_was_ordered_is_not_deleted(
    as_user: Callable[..., APIClient], lamp: Product, receive_event: Callable[..., int]
) -> None:
    """A product with orders stays; one without goes."""
    staff = as_user(uuid.uuid4(), staff=True)
    ordered = OrderPlaced(
        order_id=uuid.uuid4(), user_id=uuid.uuid4(), items=[OrderedItem(product_id=lamp.pk, quantity=1)]
    )
    receive_event(ordered, key="k", source="order-service")
    refused = staff.delete(f"{URL}{lamp.pk}/")
    assert (refused.status_code, refused.json()["code"]) == (409, "product_in_use")
    other = staff.post(URL, NEW).json()
    assert staff.delete(f"{URL}{other['id']}/").status_code == 204


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


def test_a_product_is_found_by_its_id_in_any_case(api_client: APIClient, lamp: Product) -> None:
    """A UUID in capital letters names the same product."""
    assert api_client.get(f"{URL}{str(lamp.pk).upper()}/").json()["id"] == str(lamp.pk)


@pytest.mark.parametrize(("stock", "limit"), [(0, 5), (12, 5), (40, 10), (120, 30)])
def test_a_new_product_has_a_limit_for_each_customer(as_user: Callable[..., APIClient], stock: int, limit: int) -> None:
    """The limit is a quarter of the first stock, at least five pieces, and staff may set another above zero."""
    staff = as_user(uuid.uuid4(), staff=True)
    added = staff.post(URL, {**NEW, "inventory_count": stock}).json()
    assert added["customer_limit"] == limit
    assert staff.patch(f"{URL}{added['id']}/", {"customer_limit": 2}).json()["customer_limit"] == 2
    assert staff.patch(f"{URL}{added['id']}/", {"customer_limit": 0}).status_code == 400
