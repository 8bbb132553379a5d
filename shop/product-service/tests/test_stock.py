"""Stock is never sold twice and never lost, whoever asks at the same time and however often."""

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from products.events import OrderCancelled, OrderedItem, OrderPlaced
from products.models import Product, Reservation, change_stock

SOURCE = "order-service"


def placed(quantities: dict[uuid.UUID, int]) -> OrderPlaced:
    items = [OrderedItem(product_id=product_id, quantity=quantity) for product_id, quantity in quantities.items()]
    return OrderPlaced(order_id=uuid.uuid4(), items=items)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in many threads that begin together, and return what each returned or raised."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            barrier.wait()
            results[number] = work(number)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def sell_carefully(product_id: uuid.UUID) -> bool:
    return change_stock(product_id, -1) is not None


def sell_naively(product_id: uuid.UUID) -> bool:
    """What the obvious code does: read, decide, write. It is here to show that the test notices."""
    product = Product.objects.get(pk=product_id)
    if product.inventory_count < 1:
        return False
    product.inventory_count -= 1
    product.save(update_fields=["inventory_count"])
    return True


def sold_to_320_buyers(product: Product, sell: Callable[[uuid.UUID], bool]) -> int:
    outcomes = Counter(bought for _ in range(20) for bought in at_once(16, lambda _: sell(product.pk)))
    assert set(outcomes) <= {True, False}, outcomes
    return outcomes[True]


@pytest.mark.django_db(transaction=True)
def test_320_buyers_of_100_pieces_get_100(make_product: Callable[..., Product]) -> None:
    """Exactly what is there is sold, and the count ends at zero."""
    product = make_product(inventory_count=100)
    assert sold_to_320_buyers(product, sell_carefully) == 100
    product.refresh_from_db()
    assert product.inventory_count == 0


@pytest.mark.django_db(transaction=True)
def test_the_race_is_real(make_product: Callable[..., Product]) -> None:
    """Code that reads before it writes sells more than there is in the very same race."""
    assert sold_to_320_buyers(make_product(inventory_count=100), sell_naively) > 100


@pytest.mark.django_db
@pytest.mark.parametrize(("column", "value"), [("inventory_count", -1), ("price", 0)])
def test_the_database_itself_refuses_what_must_not_be(lamp: Product, column: str, value: int) -> None:
    """A stock below zero and a price of zero can't be stored by any code."""
    with pytest.raises(IntegrityError, match="violates check constraint"), transaction.atomic():
        Product.objects.filter(pk=lamp.pk).update(**{column: value})


@pytest.mark.django_db
def test_an_order_holds_its_stock(
    make_product: Callable[..., Product], receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """Every item of an order is taken from the stock, and the answer says so."""
    first, second = make_product(inventory_count=5), make_product(inventory_count=5)
    order = placed({first.pk: 2, second.pk: 5})
    receive_event(order, key=str(order.order_id), source=SOURCE)
    assert [Product.objects.get(pk=each.pk).inventory_count for each in (first, second)] == [3, 0]
    [answer] = published_events()
    assert (answer.type, answer.data, answer.key) == (
        "stock.reserved", {"order_id": str(order.order_id)}, str(order.order_id)
    )  # fmt: skip


@pytest.mark.django_db
def test_all_or_nothing(
    make_product: Callable[..., Product], receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """Where one item is short, nothing is held, and the buyer is told which and how many are left."""
    plenty, scarce = make_product(inventory_count=50), make_product(name="Rare lamp", inventory_count=1)
    order = placed({plenty.pk: 1, scarce.pk: 2})
    receive_event(order, key=str(order.order_id), source=SOURCE)
    assert [Product.objects.get(pk=each.pk).inventory_count for each in (plenty, scarce)] == [50, 1]
    [answer] = published_events()
    assert answer.type == "stock.rejected"
    assert answer.data["reason"] == "Only 1 of Rare lamp are left."


@pytest.mark.django_db
def test_a_product_that_is_gone_is_a_rejection(
    db: None, receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """An order for something that was deleted is rejected, not retried for ever."""
    order = placed({uuid.uuid4(): 1})
    receive_event(order, key="k", source=SOURCE)
    assert [event.type for event in published_events()] == ["stock.rejected"]


@pytest.mark.django_db
def test_a_repeated_event_changes_nothing(
    lamp: Product, receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """The same order, delivered again or even published again under another id, holds its stock once."""
    order = placed({lamp.pk: 3})
    identifier = str(uuid.uuid4())
    for id_ in (identifier, identifier, str(uuid.uuid4())):
        receive_event(order, key="k", source=SOURCE, id=id_)
    lamp.refresh_from_db()
    assert lamp.inventory_count == 7
    assert len(published_events("stock.reserved")) == 1


@pytest.mark.django_db
def test_a_cancelled_order_gives_back_once(lamp: Product, receive_event: Callable[..., int]) -> None:
    """Cancelling returns what was held; hearing of it twice returns no more."""
    order = placed({lamp.pk: 3})
    receive_event(order, key="k", source=SOURCE)
    for _ in range(2):
        receive_event(OrderCancelled(order_id=order.order_id), key="k", source=SOURCE)
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10


@pytest.mark.django_db
def test_a_cancellation_that_comes_first_wins(
    lamp: Product, receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """An order that was cancelled before its stock was asked for holds nothing, and answers nothing."""
    order = placed({lamp.pk: 3})
    receive_event(OrderCancelled(order_id=order.order_id), key="k", source=SOURCE)
    receive_event(order, key="k", source=SOURCE)
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10
    assert published_events() == []


@pytest.mark.django_db
def test_a_rejected_order_has_nothing_to_give_back(lamp: Product, receive_event: Callable[..., int]) -> None:
    """Cancelling an order that got nothing adds nothing to the stock."""
    order = placed({lamp.pk: 11})
    receive_event(order, key="k", source=SOURCE)
    receive_event(OrderCancelled(order_id=order.order_id), key="k", source=SOURCE)
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10
    assert Reservation.objects.get().state == Reservation.State.REJECTED


@pytest.mark.django_db(transaction=True)
def test_orders_with_the_same_products_never_dead_lock(
    make_product: Callable[..., Product], receive_event: Callable[..., int]
) -> None:
    """Orders that name the same products in opposite orders are all handled, and the sums are right."""
    first, second = make_product(inventory_count=100), make_product(inventory_count=100)

    def handle(number: int) -> int:
        pair = (first, second) if number % 2 else (second, first)
        order = placed({product.pk: 1 for product in pair})
        return receive_event(order, key=str(order.order_id), source=SOURCE)

    assert at_once(12, handle) == [1] * 12
    assert [Product.objects.get(pk=each.pk).inventory_count for each in (first, second)] == [88, 88]


@pytest.mark.django_db(transaction=True)
def test_placing_and_cancelling_at_once_ends_with_all_the_stock(
    lamp: Product, receive_event: Callable[..., int]
) -> None:
    """Whichever of the two events is handled first, in the end nothing is held."""
    for _ in range(10):
        order = placed({lamp.pk: 1})
        cancelled = OrderCancelled(order_id=order.order_id)
        at_once(2, lambda number, pair=(order, cancelled): receive_event(pair[number], key=str(number), source=SOURCE))
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10
