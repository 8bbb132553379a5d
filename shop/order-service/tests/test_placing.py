"""An order is placed once, at the shop's own prices, for somebody who exists."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bandstand.api import IdempotencyRecord
from bandstand.events import Event
from bandstand.exceptions import InvalidEvent, ServiceTimeout, ServiceUnavailable
from bandstand.testing.races import run_at_once
from django.conf import settings
from django.db import connection
from django.utils import timezone
from psycopg.pq import TransactionStatus
from rest_framework.test import APIClient

from orders.models import Order, OrderItem
from tests.conftest import BODY, LAMP, PEN, URL

pytestmark = pytest.mark.django_db

Place = Callable[..., Any]


def test_the_wire_of_a_new_order(
    place: Place, buyer: APIClient, others: Any, published_events: Callable[..., list[Any]]
) -> None:
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


def test_an_order_costs_two_calls(place: Place, buyer: APIClient, others: Any) -> None:
    """However many products, the others are asked once each."""
    place(buyer)
    assert Counter(call.service for call in others.calls) == {"user-service": 1, "product-service": 1}


def test_the_client_says_no_price(place: Place, buyer: APIClient, others: Any, user_id: str) -> None:
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


def test_the_same_key_is_the_same_order(place: Place, buyer: APIClient, others: Any) -> None:
    """A repetition gets the first answer, byte for byte; another body under the key is refused."""
    first, second = place(buyer, key="key-1"), place(buyer, key="key-1")
    assert second.content == first.content
    assert second.status_code == 201
    other = {"items": [{"product_id": LAMP["id"], "quantity": 1}]}
    assert place(buyer, other, key="key-1").status_code == 422
    assert Order.objects.count() == 1


def test_a_repetition_is_answered_while_the_others_are_down(place: Place, buyer: APIClient, others: Any) -> None:
    """What was ordered is known here: nobody else need be asked again."""
    first = place(buyer, key="key-1")
    calls = len(others.calls)
    assert place(buyer, key="key-1").content == first.content
    assert len(others.calls) == calls


def test_a_key_is_required(place: Place, buyer: APIClient, others: Any) -> None:
    """An order that could be placed twice by accident is not placed at all."""
    answer = place(buyer, key="")
    assert answer.status_code == 400
    assert answer.json()["code"] == "idempotency_key_missing"


def test_a_key_belongs_to_its_user(
    place: Place, as_user: Callable[..., APIClient], buyer: APIClient, others: Any
) -> None:
    """Two users may choose the same key, and none sees the other's order."""
    mine = place(buyer, key="key-1").json()
    stranger = str(uuid.uuid4())
    user = {"id": stranger, "email": "eve@example.com", "is_active": True}
    others.on("user-service", "GET", f"/api/v1/users/{stranger}/", json=user)
    theirs = place(as_user(stranger), key="key-1")
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine["id"]


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_with_one_key_are_one_order(place: Place, buyer: APIClient, others: Any) -> None:
    """Of many requests with one key at the same time one places the order; the others are told, or get its answer."""
    answers = run_at_once(50, lambda _: place(buyer, key="key-1"))
    placed = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    told = [answer for answer in answers if answer.status_code == 409]
    assert len(placed) + len(told) == 50
    assert {answer.json()["code"] for answer in told} <= {"idempotency_key_in_flight"}
    assert len(set(placed)) == Order.objects.count() == 1


def test_a_key_is_remembered_for_a_day(place: Place, buyer: APIClient, others: Any) -> None:
    """A second before it expires the key gives the first answer; a second after it places a new order."""
    first = place(buyer, key="key-1")
    record = IdempotencyRecord.objects.get()
    assert record.expires_at - record.created_at == timedelta(days=1)
    IdempotencyRecord.objects.update(expires_at=timezone.now() + timedelta(seconds=1))
    assert place(buyer, key="key-1").json()["id"] == first.json()["id"]
    IdempotencyRecord.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert place(buyer, key="key-1").json()["id"] != first.json()["id"]
    assert Order.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_others_are_asked(
    place: Place, buyer: APIClient, fake_services: Any, user_id: str
) -> None:
    """A slow peer holds no lock and no snapshot: the database connection is idle during both calls."""
    seen = []

    def answer(body: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
        def note(_call: Any) -> dict[str, Any]:
            seen.append((connection.in_atomic_block, connection.connection.info.transaction_status))
            return body

        return note

    user = {"id": user_id, "email": "ada@example.com", "is_active": True}
    fake_services.on("user-service", "GET", f"/api/v1/users/{user_id}/", json=answer(user))
    fake_services.on("product-service", "GET", "/api/v1/products/", json=answer({"results": [LAMP, PEN]}))
    assert place(buyer).status_code == 201
    assert seen == [(False, TransactionStatus.IDLE)] * 2


@pytest.mark.django_db(transaction=True)
def test_every_thread_may_wait_for_another_service_at_once(
    place: Place, buyer: APIClient, fake_services: Any, user_id: str
) -> None:
    """As many requests as a web server has threads, all inside a call at the same moment: the pool has enough."""
    threads = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    assert threads == 8
    inside = threading.Barrier(threads, timeout=20)

    def wait_for_all(_call: Any) -> dict[str, Any]:
        inside.wait()
        return {"id": user_id, "email": "ada@example.com", "is_active": True}

    fake_services.on("user-service", "GET", f"/api/v1/users/{user_id}/", json=wait_for_all)
    fake_services.on("product-service", "GET", "/api/v1/products/", json={"results": [LAMP, PEN]})
    connection.close()  # this thread's own: in a server there is none beside the eight
    answers = run_at_once(threads, lambda _: place(buyer))
    assert [answer.status_code for answer in answers] == [201] * threads


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "1e999", "100000000", "0.001", "sNaN", "", None, "x"])
def test_what_has_no_price_is_not_sold(place: Place, buyer: APIClient, others: Any, price: str | None) -> None:
    """If the catalogue answers with a price that is none, nothing is ordered, and the fault is not the buyer's."""
    others.on("product-service", "GET", "/api/v1/products/", json={"results": [{**LAMP, "price": price}, PEN]})
    answer = place(buyer)
    assert answer.status_code == 502, answer.json()
    assert not Order.objects.exists()


def test_the_largest_order_fits(place: Place, buyer: APIClient, others: Any) -> None:
    """As many pieces of as many products as an order may have, each at the highest price: the total is exact."""
    dear = [{**LAMP, "id": str(uuid.uuid4()), "price": "99999999.99"} for _ in range(50)]
    others.on("product-service", "GET", "/api/v1/products/", json={"results": dear})
    answer = place(buyer, {"items": [{"product_id": product["id"], "quantity": 1000} for product in dear]})
    assert answer.status_code == 201, answer.json()
    assert answer.json()["total_amount"] == "4999999999500.00"


def test_currencies_are_not_added_up(place: Place, buyer: APIClient, others: Any) -> None:
    """Products in different currencies have no total."""
    others.on("product-service", "GET", "/api/v1/products/", json={"results": [{**LAMP, "currency": "USD"}, PEN]})
    answer = place(buyer)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"].startswith("items")


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
        {"items": [{"product_id": LAMP["id"], "quantity": "1_0"}]},
        {"items": [{"product_id": LAMP["id"], "quantity": " 1"}]},
        {"items": [{"product_id": 5, "quantity": 1}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 10**30}]},
        {"items": [{"product_id": "abc", "quantity": 1}]},
        {"items": [{"product_id": LAMP["id"], "quantity": 1}] * 2},
        {"items": [{"product_id": str(uuid.uuid4()), "quantity": 1} for _ in range(51)]},
        {"items": [{"product_id": "\u0000", "quantity": 1}]},
    ],
)  # fmt: skip
def test_a_wrong_order_is_refused(place: Place, buyer: APIClient, others: Any, body: object) -> None:
    """Whatever is wrong is named in a problem document; nobody is asked and nothing is stored."""
    answer = place(buyer, body)
    assert answer.status_code == 400, answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert others.calls == []
    assert not Order.objects.exists()


def test_an_unknown_product_is_refused(place: Place, buyer: APIClient, others: Any) -> None:
    """A product that the catalogue does not have is named."""
    unknown = str(uuid.uuid4())
    answer = place(buyer, {"items": [{"product_id": unknown, "quantity": 1}]})
    assert answer.status_code == 400
    assert unknown in str(answer.json()["errors"])


@pytest.mark.parametrize("status", [404, 200])
def test_who_has_no_account_any_more_buys_nothing(
    place: Place, buyer: APIClient, fake_services: Any, user_id: str, status: int
) -> None:
    """A token outlives its account by minutes; the order service asks."""
    user = {"id": user_id, "email": "ada@example.com", "is_active": False}
    fake_services.on("user-service", "GET", f"/api/v1/users/{user_id}/", json=user, status=status)
    assert place(buyer).status_code == 403
    assert not Order.objects.exists()


@pytest.mark.parametrize(("failure", "status"), [(ServiceTimeout, 504), (ServiceUnavailable, 503)])
@pytest.mark.parametrize("failing", ["user-service", "product-service"])
def test_without_the_others_there_is_no_order(
    *, place: Place, buyer: APIClient, others: Any, user_id: str, failing: str, failure: Any, status: int
) -> None:
    """When one of the others does not answer nothing is stored, and the same key places the order later."""
    path = "/api/v1/products/" if failing == "product-service" else f"/api/v1/users/{user_id}/"
    others.on(failing, "GET", path, raises=failure)
    answer = place(buyer, key="key-1")
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert not Order.objects.exists()
    user = {"id": user_id, "email": "ada@example.com", "is_active": True}
    others.on(failing, "GET", path, json={"results": [LAMP, PEN]} if failing == "product-service" else user)
    assert place(buyer, key="key-1").status_code == 201


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_refusal_by_the_others_is_not_the_buyers_fault(
    place: Place, buyer: APIClient, others: Any, user_id: str, status: int
) -> None:
    """Whatever the user service has against this service, its words do not reach the buyer."""
    others.on("user-service", "GET", f"/api/v1/users/{user_id}/", status=status, json={"detail": "secret"})
    answer = place(buyer)
    assert answer.status_code == 502
    assert b"secret" not in answer.content


@pytest.mark.parametrize(
    "subject", ["x", "../../products", "a/b", "?x=1", "#", "0", "%2e%2e", str(uuid.uuid4()).upper()]
)
def test_a_token_of_no_user_of_the_shop_is_refused(
    place: Place, as_user: Callable[..., APIClient], make_order: Callable[..., Order], others: Any, subject: str
) -> None:
    """An id that is none never becomes a path of another service, and finds no orders."""
    client, order = as_user(subject), make_order()
    answers = [place(client), client.get(URL), client.get(f"{URL}{order.pk}/"), client.post(f"{URL}{order.pk}/cancel/")]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert others.calls == []


def test_an_order_and_its_event_are_one(
    place: Place,
    buyer: APIClient,
    others: Any,
    published_events: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the items can't be stored there is no order, no event and no answer under the key."""
    with monkeypatch.context() as patch:
        patch.setattr(OrderItem.objects, "bulk_create", lambda _: 1 / 0)
        assert place(buyer, key="key-1").status_code == 500
    assert not Order.objects.exists()
    assert published_events() == []
    assert place(buyer, key="key-1").status_code == 201


class AnySessionEnded(Event, type="session.ended", version=1):
    """A sign-in that has ended, as the user service publishes it."""

    session_id: str


def test_a_token_of_an_ended_sign_in_does_not_buy(
    place: Place, as_user: Callable[..., APIClient], user_id: str, others: Any, receive_event: Callable[..., int]
) -> None:
    """Once the event is received, the token may read but not buy; other sign-ins of the user are not affected."""
    session = str(uuid.uuid4())
    stolen, own = as_user(user_id, sid=session), as_user(user_id)
    assert place(stolen, key="key-1").status_code == 201
    receive_event(AnySessionEnded(session_id=session), key=user_id, source="user-service")
    answers = [place(stolen), place(stolen, key="key-1")]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "signed_out")] * 2
    assert Order.objects.count() == 1
    assert place(own).status_code == 201
    assert stolen.get(URL).status_code == 200


def test_only_the_user_service_ends_sign_ins(
    place: Place, as_user: Callable[..., APIClient], user_id: str, others: Any, receive_event: Callable[..., int]
) -> None:
    """The event is invalid if another service publishes it."""
    session = str(uuid.uuid4())
    with pytest.raises(InvalidEvent, match="from user-service alone"):
        receive_event(AnySessionEnded(session_id=session), key=user_id, source="product-service")
    assert place(as_user(user_id, sid=session)).status_code == 201


def test_a_token_without_a_sign_in_does_not_buy(
    place: Place, as_user: Callable[..., APIClient], user_id: str, others: Any
) -> None:
    """A token without the claim ``sid`` is refused, since its sign-in could not be ended."""
    assert place(as_user(user_id, sid=None)).status_code == 401
