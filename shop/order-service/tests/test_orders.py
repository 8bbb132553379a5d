"""What becomes of an order, and who sees it."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bandstand.exceptions import InvalidEvent
from bandstand.testing.races import run_at_once
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from orders.events import EXPIRED, StockRejected, StockReserved, expire_orders
from orders.models import Order
from tests.conftest import URL

pytestmark = pytest.mark.django_db

SOURCE = "product-service"


def test_a_service_asks_on_behalf_of_a_user(
    make_order: Callable[..., Order],
    as_service: Callable[..., APIClient],
    user_token: Callable[..., str],
    user_id: str,
) -> None:
    """The user service passes the user's token on and gets that user's orders, and no others."""
    mine = make_order()
    make_order(user_id=uuid.uuid4())
    client = as_service("user-service")
    answer = client.get(URL, headers={"Authorization": f"Bearer {user_token(user_id)}"})
    assert [order["id"] for order in answer.json()["results"]] == [str(mine.pk)]


def test_staff_looks_at_all_orders(
    as_user: Callable[..., APIClient], make_order: Callable[..., Order], user_id: str
) -> None:
    """Staff lists everybody's orders, and those of one user."""
    make_order()
    make_order(user_id=uuid.uuid4())
    staff = as_user(uuid.uuid4(), staff=True)
    assert staff.get(URL).json()["count"] == 2
    [order] = staff.get(f"{URL}?user_id={user_id}").json()["results"]
    assert order["user_email"] == "ada@example.com"


def test_a_list_shows_the_own_orders_newest_first(buyer: APIClient, make_order: Callable[..., Order]) -> None:
    """Pages of the own orders; asking for another user's id shows nothing more."""
    mine = [str(make_order().pk) for _ in range(3)]
    other = make_order(user_id=uuid.uuid4())
    assert [order["id"] for order in buyer.get(URL).json()["results"]] == mine[::-1]
    assert buyer.get(f"{URL}?user_id={other.user_id}").json()["count"] == 0
    assert buyer.get(f"{URL}?status=confirmed").json()["count"] == 0
    assert buyer.get(f"{URL}?status=pending").json()["count"] == 3


def test_a_list_costs_three_queries(
    buyer: APIClient, make_order: Callable[..., Order], django_assert_num_queries: Any
) -> None:
    """The count, the orders and all their items: no query for each order."""
    for _ in range(10):
        make_order()
    with django_assert_num_queries(3):
        buyer.get(URL)


def test_reserved_stock_confirms(
    buyer: APIClient,
    make_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """When its stock is held an order is confirmed, and that is announced."""
    order = make_order()
    receive_event(StockReserved(order_id=order.pk), key=str(order.pk), source=SOURCE)
    assert buyer.get(f"{URL}{order.pk}/").json()["status"] == "confirmed"
    [event] = published_events()
    assert event.type == "order.confirmed"
    assert event.data["user_email"] == "ada@example.com"


def test_missing_stock_rejects_with_a_reason(
    buyer: APIClient,
    make_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """Without stock an order is rejected, and the buyer sees why."""
    order = make_order()
    receive_event(StockRejected(order_id=order.pk, reason="Only 1 left."), key=str(order.pk), source=SOURCE)
    seen = buyer.get(f"{URL}{order.pk}/").json()
    assert (seen["status"], seen["reason"]) == ("rejected", "Only 1 left.")
    assert [event.type for event in published_events()] == ["order.rejected"]


def test_a_repeated_answer_changes_nothing(
    make_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """The same answer under another id, or the other answer after it, has no effect."""
    order = make_order()
    for event in (StockReserved(order_id=order.pk), StockReserved(order_id=order.pk),
                  StockRejected(order_id=order.pk, reason="late")):  # fmt: skip
        receive_event(event, key=str(order.pk), source=SOURCE)
    order.refresh_from_db()
    assert order.status == "confirmed"
    assert len(published_events()) == 1


@pytest.mark.parametrize(
    ("status", "answer"), [("pending", 200), ("confirmed", 200), ("cancelled", 200), ("rejected", 409)]
)
def test_cancelling(
    buyer: APIClient,
    make_order: Callable[..., Order],
    published_events: Callable[..., list[Any]],
    *,
    status: str,
    answer: int,
) -> None:
    """What is pending or confirmed can be cancelled, once; again is no error; what was rejected can't be."""
    order = make_order(status=status)
    assert buyer.post(f"{URL}{order.pk}/cancel/").status_code == answer
    order.refresh_from_db()
    assert order.status == ("rejected" if status == "rejected" else "cancelled")
    assert len(published_events("order.cancelled")) == (1 if status in {"pending", "confirmed"} else 0)


def test_a_late_answer_does_not_revive_a_cancelled_order(
    buyer: APIClient,
    make_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """The cancellation stands, and its event gives the stock back."""
    order = make_order()
    buyer.post(f"{URL}{order.pk}/cancel/")
    receive_event(StockReserved(order_id=order.pk), key=str(order.pk), source=SOURCE)
    order.refresh_from_db()
    assert order.status == "cancelled"
    assert [event.type for event in published_events()] == ["order.cancelled"]


def test_a_reason_is_as_long_as_it_may_be(make_order: Callable[..., Order], receive_event: Callable[..., int]) -> None:
    """A long reason is cut instead of failing for ever."""
    order = make_order()
    receive_event(StockRejected(order_id=order.pk, reason="x" * 5000), key=str(order.pk), source=SOURCE)
    order.refresh_from_db()
    assert order.reason == "x" * 500


def test_only_the_product_service_decides(make_order: Callable[..., Order], receive_event: Callable[..., int]) -> None:
    """Nobody else of the platform confirms or rejects an order."""
    order = make_order()
    for event in (StockReserved(order_id=order.pk), StockRejected(order_id=order.pk, reason="x")):
        with pytest.raises(InvalidEvent, match="from product-service alone"):
            receive_event(event, key=str(order.pk), source="user-service")
    order.refresh_from_db()
    assert order.status == "pending"


def test_an_answer_about_no_order_is_an_error(receive_event: Callable[..., int], db: None) -> None:
    """It can't be ignored: somebody holds stock for an order that is not known. It is retried, then a dead letter."""
    with pytest.raises(Order.DoesNotExist):
        receive_event(StockReserved(order_id=uuid.uuid4()), key="k", source=SOURCE)


@pytest.mark.parametrize(("column", "value"), [("status", "paid"), ("total_amount", 0), ("total_amount", -1)])
def test_the_database_itself_refuses_what_must_not_be(
    make_order: Callable[..., Order], column: str, value: object
) -> None:
    """No code stores an order without a total above zero, or with a status that nobody knows."""
    order = make_order()
    with pytest.raises(IntegrityError, match="violates check constraint"), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(**{column: value})


@pytest.mark.django_db(transaction=True)
def test_cancelling_and_confirming_at_once_agree(
    buyer: APIClient,
    make_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """Whichever comes first, the order ends cancelled and is announced as cancelled once, and last."""
    for _ in range(10):
        order = make_order()
        answers = run_at_once(4, lambda turn, order=order: settle(turn, order, buyer, receive_event))
        assert answers.count(200) == 3
        order.refresh_from_db()
        assert order.status == "cancelled"
        told = [event.type for event in published_events() if event.key == str(order.pk)]
        assert told in (["order.cancelled"], ["order.confirmed", "order.cancelled"])


def settle(turn: int, order: Order, buyer: APIClient, receive_event: Callable[..., int]) -> int:
    """Confirm the order once, and cancel it as often as asked."""
    if turn == 0:
        return receive_event(StockReserved(order_id=order.pk), key=str(order.pk), source=SOURCE)
    status: int = buyer.post(f"{URL}{order.pk}/cancel/").status_code
    return status


@pytest.fixture
def make_old_order(make_order: Callable[..., Order]) -> Callable[..., Order]:
    """Return a function that saves an order which was placed before pending orders expire."""

    def make(**fields: Any) -> Order:
        order = make_order(**fields)
        Order.objects.filter(pk=order.pk).update(created_at=timezone.now() - settings.PENDING_LIFETIME)
        return order

    return make


def test_an_order_is_not_pending_for_ever(
    make_order: Callable[..., Order], make_old_order: Callable[..., Order], published_events: Callable[..., list[Any]]
) -> None:
    """Only an overdue pending order is rejected, with a reason and exactly one event."""
    overdue = make_old_order()
    others = [make_order(), make_old_order(status="confirmed"), make_old_order(status="cancelled")]
    for _ in range(2):
        expire_orders()
    overdue.refresh_from_db()
    assert (overdue.status, overdue.reason) == ("rejected", EXPIRED)
    [event] = published_events()
    assert (event.type, event.key, event.data["reason"]) == ("order.rejected", str(overdue.pk), EXPIRED)
    assert [Order.objects.get(pk=order.pk).status for order in others] == ["pending", "confirmed", "cancelled"]
    assert timedelta(minutes=5) < settings.PENDING_LIFETIME < timedelta(hours=1)


def test_stock_that_is_confirmed_too_late_does_not_revive_an_order(
    make_old_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """The order stays rejected, and its rejection is the only event."""
    order = make_old_order()
    expire_orders()
    receive_event(StockReserved(order_id=order.pk), key=str(order.pk), source=SOURCE)
    order.refresh_from_db()
    assert order.status == "rejected"
    assert [event.type for event in published_events()] == ["order.rejected"]


@pytest.mark.django_db(transaction=True)
def test_expiring_and_confirming_at_once_agree(
    make_old_order: Callable[..., Order],
    receive_event: Callable[..., int],
    published_events: Callable[..., list[Any]],
) -> None:
    """An order is either confirmed or rejected, and exactly that is published, whichever comes first."""
    for _ in range(10):
        order = make_old_order()
        confirmed = StockReserved(order_id=order.pk)

        def settle_late(turn: int, event: StockReserved = confirmed) -> None:
            if turn:
                expire_orders()
            else:
                receive_event(event, key=str(event.order_id), source=SOURCE)

        run_at_once(3, settle_late)
        order.refresh_from_db()
        assert order.status in {"confirmed", "rejected"}
        told = [event.type for event in published_events() if event.key == str(order.pk)]
        assert told == [f"order.{order.status}"]
