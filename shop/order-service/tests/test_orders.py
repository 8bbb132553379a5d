"""What becomes of an order, and who sees it."""

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from rest_framework.test import APIClient

from orders.events import StockRejected, StockReserved
from orders.models import Order

pytestmark = pytest.mark.django_db

URL = "/api/v1/orders/"
SOURCE = "product-service"
ROLES = ("owner", "other", "anonymous", "staff", "service", "wrong_service")

# For each route and method the status for each of ROLES. A service that may call this one is nobody in particular: it
# sees something only on behalf of a user, whose token it passes on.
POLICY = {
    ("", "get"): (200, 200, 401, 200, 401, 403),
    ("", "post"): (400, 400, 401, 400, 401, 403),
    ("{id}/", "get"): (200, 404, 401, 200, 401, 403),
    ("{id}/cancel/", "post"): (200, 404, 401, 404, 401, 403),
    ("{id}/", "put"): (405, 405, 401, 405, 401, 403),
    ("{id}/", "delete"): (405, 405, 401, 405, 401, 403),
}
CASES = [
    pytest.param(route, method, role, status, id=f"{method} {route or 'list'} {role}")
    for (route, method), statuses in POLICY.items()
    for role, status in zip(ROLES, statuses, strict=True)
]


@pytest.fixture
def client_of(
    *, as_user: Callable[..., APIClient], as_service: Callable[..., APIClient], api_client: APIClient, user_id: str
) -> Callable[[str], APIClient]:
    makers = {
        "owner": lambda: as_user(user_id),
        "other": lambda: as_user(uuid.uuid4()),
        "anonymous": lambda: api_client,
        "staff": lambda: as_user(uuid.uuid4(), staff=True),
        "service": lambda: as_service("user-service"),
        "wrong_service": lambda: as_service("stranger-service"),
    }
    return lambda role: makers[role]()


@pytest.mark.parametrize(("route", "method", "role", "status"), CASES)
def test_who_may_do_what(
    make_order: Callable[..., Order],
    client_of: Callable[[str], APIClient],
    *,
    route: str,
    method: str,
    role: str,
    status: int,
) -> None:
    """Each cell of the table; another user's order is as if it did not exist."""
    order = make_order()
    answer = getattr(client_of(role), method)(URL + route.format(id=order.pk), {} if method != "get" else None)
    assert answer.status_code == status, answer.content


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


def test_a_list_shows_the_own_orders_newest_first(buyer: APIClient, make_order: Callable[..., Order]) -> None:
    """Pages of the own orders; asking for another user's id shows nothing more."""
    mine = [str(make_order().pk) for _ in range(3)]
    other = make_order(user_id=uuid.uuid4())
    assert [order["id"] for order in buyer.get(URL).json()["results"]] == mine[::-1]
    assert buyer.get(f"{URL}?user_id={other.user_id}").json()["count"] == 0
    assert buyer.get(f"{URL}?status=confirmed").json()["count"] == 0
    assert buyer.get(f"{URL}?status=pending").json()["count"] == 3


@pytest.mark.parametrize(
    "query", ["status=nothing", "user_id=abc", "page=0", "page=99999999999999999999", "status=%00"]
)
def test_garbage_in_the_query_is_refused(buyer: APIClient, query: str) -> None:
    """What can't be understood is a problem of the request."""
    answer = buyer.get(f"{URL}?{query}")
    assert answer.status_code in {400, 404}
    assert answer["Content-Type"] == "application/problem+json"


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


@pytest.mark.django_db(transaction=True)
def test_cancelling_and_confirming_at_once_agree(
    buyer: APIClient, make_order: Callable[..., Order], receive_event: Callable[..., int]
) -> None:
    """Whichever comes first, the order ends cancelled and is announced as cancelled exactly once."""
    for _ in range(5):
        order = make_order()

        def confirm(order: Order = order) -> None:
            receive_event(StockReserved(order_id=order.pk), key=str(order.pk), source=SOURCE)

        def cancel(order: Order = order) -> None:
            buyer.post(f"{URL}{order.pk}/cancel/")

        def run(work: Callable[[], None]) -> None:
            try:
                work()
            finally:
                connections.close_all()

        threads = [threading.Thread(target=run, args=(work,)) for work in (confirm, cancel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        order.refresh_from_db()
        assert order.status == "cancelled"
