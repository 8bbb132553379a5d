"""Stock is never sold twice and never lost, whoever asks at the same time and however often."""

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from bandstand.events import Event
from bandstand.exceptions import InvalidEvent
from bandstand.testing.races import run_at_once
from django.db import IntegrityError, transaction
from django.utils import timezone

from products import holdings
from products.events import OrderCancelled, OrderedItem, OrderPlaced, OrderRejected, forget_holdings
from products.models import MAX_STOCK, CustomerHolding, Product, Reservation, ReservedItem, change_stock

SOURCE = "order-service"


class AnyOrderPlaced(Event, type="order.placed", version=1):
    """An order as a publisher with a fault might announce it."""

    order_id: Any
    user_id: Any
    items: Any


def placed(quantities: dict[uuid.UUID, int], customer: uuid.UUID | None = None) -> OrderPlaced:
    items = [OrderedItem(product_id=product_id, quantity=quantity) for product_id, quantity in quantities.items()]
    return OrderPlaced(order_id=uuid.uuid4(), user_id=customer or uuid.uuid4(), items=items)


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
    outcomes = Counter(bought for _ in range(20) for bought in run_at_once(16, lambda _: sell(product.pk)))
    assert outcomes.total() == 320
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
    assert answer.data["reason"] == "Rare lamp: only 1 left."


@pytest.mark.django_db
@pytest.mark.parametrize(
    "items", [[], [{"quantity": 0}], [{"quantity": -5}], [{"quantity": 2**31}], [{"quantity": "1"}], [{}], None]
)
def test_an_order_that_makes_no_sense_is_never_handled(
    lamp: Product, receive_event: Callable[..., int], items: list[dict[str, Any]] | None
) -> None:
    """An event with fewer than one piece would add to the stock: it is unreadable, and so a dead letter at once."""
    filled = None if items is None else [{"product_id": str(lamp.pk), **item} for item in items]
    with pytest.raises(InvalidEvent):
        receive_event(
            AnyOrderPlaced(order_id=str(uuid.uuid4()), user_id=str(uuid.uuid4()), items=filled), key="k", source=SOURCE
        )
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["placed", "cancelled", "rejected"])
def test_only_the_order_service_moves_stock(lamp: Product, receive_event: Callable[..., int], kind: str) -> None:
    """What another service of the platform says of orders is not believed, though it may publish in its own name."""
    order = placed({lamp.pk: 3})
    receive_event(order, key="k", source=SOURCE)
    events = {
        "placed": placed({lamp.pk: 3}),
        "cancelled": OrderCancelled(order_id=order.order_id),
        "rejected": OrderRejected(order_id=order.order_id),
    }
    with pytest.raises(InvalidEvent, match="from order-service alone"):
        receive_event(events[kind], key="k", source="notification-service")
    lamp.refresh_from_db()
    assert lamp.inventory_count == 7


@pytest.mark.django_db
def test_the_same_product_twice_is_one_sum(lamp: Product, receive_event: Callable[..., int]) -> None:
    """An order that names a product in two items takes both, or neither."""
    for quantity, left in ((6, 10), (5, 0)):
        order = OrderPlaced(
            order_id=uuid.uuid4(),
            user_id=uuid.uuid4(),
            items=[OrderedItem(product_id=lamp.pk, quantity=quantity) for _ in range(2)],
        )
        receive_event(order, key=str(order.order_id), source=SOURCE)
        lamp.refresh_from_db()
        assert lamp.inventory_count == left


@pytest.mark.django_db
def test_stock_that_can_not_be_counted_is_never_lost(lamp: Product, receive_event: Callable[..., int]) -> None:
    """If what an order gives back does not fit into the stock, its event fails and stays, and so does what it holds."""
    order = placed({lamp.pk: 3})
    receive_event(order, key="k", source=SOURCE)
    Product.objects.update(inventory_count=MAX_STOCK)
    with pytest.raises(OverflowError, match="can't take back 3 pieces"):
        receive_event(OrderCancelled(order_id=order.order_id), key="k", source=SOURCE)
    assert Reservation.objects.get().state == Reservation.State.HELD


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


@pytest.mark.django_db(transaction=True)
def test_cancellations_at_once_give_back_once(lamp: Product, receive_event: Callable[..., int]) -> None:
    """Cancellations of one order under different ids, handled at the same moment, return its pieces once."""
    for _ in range(5):
        order = placed({lamp.pk: 3})
        receive_event(order, key="k", source=SOURCE)
        off = OrderCancelled(order_id=order.order_id)
        run_at_once(4, lambda turn, off=off: receive_event(off, key=str(turn), source=SOURCE))
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

    assert run_at_once(12, handle) == [1] * 12
    assert [Product.objects.get(pk=each.pk).inventory_count for each in (first, second)] == [88, 88]


@pytest.mark.django_db(transaction=True)
def test_placing_and_cancelling_at_once_ends_with_all_the_stock(
    lamp: Product, receive_event: Callable[..., int]
) -> None:
    """Whichever of the two events is handled first, in the end nothing is held."""
    for _ in range(10):
        order = placed({lamp.pk: 1})
        cancelled = OrderCancelled(order_id=order.order_id)
        run_at_once(
            2, lambda number, pair=(order, cancelled): receive_event(pair[number], key=str(number), source=SOURCE)
        )
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10


@pytest.mark.django_db(transaction=True)
def test_320_orders_and_their_cancellations_leave_nothing_over_and_nothing_out(
    make_product: Callable[..., Product], receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """320 orders for 100 pieces, every fifth cancelled at the same moment: one answer each, right sums."""
    product = make_product(inventory_count=100)

    def handle(number: int) -> None:
        order = placed({product.pk: 1})
        events: list[Any] = [order, OrderCancelled(order_id=order.order_id)]
        if number % 5:
            receive_event(order, key=str(order.order_id), source=SOURCE)
        else:
            run_at_once(2, lambda turn: receive_event(events[turn], key=f"{order.order_id}{turn}", source=SOURCE))

    for _ in range(40):
        run_at_once(8, handle)
    product.refresh_from_db()
    states = Counter(Reservation.objects.values_list("state", flat=True))
    answers = Counter(event.type for event in published_events())
    held = sum(ReservedItem.objects.filter(reservation__state="held").values_list("quantity", flat=True))
    assert held + product.inventory_count == 100
    assert product.inventory_count >= 0
    assert states.total() == 320
    assert states["held"] == held
    assert answers["stock.rejected"] == states["rejected"]
    assert answers["stock.reserved"] >= states["held"]
    assert len({event.key for event in published_events()}) == answers.total()


@pytest.mark.django_db
def test_an_order_that_expired_gives_back_once(lamp: Product, receive_event: Callable[..., int]) -> None:
    """The stock of an expired order returns once, also if the event is repeated or a cancellation follows."""
    order = placed({lamp.pk: 3})
    receive_event(order, key="k", source=SOURCE)
    for event in (OrderRejected, OrderRejected, OrderCancelled):
        receive_event(event(order_id=order.order_id), key="k", source=SOURCE)
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10
    assert Reservation.objects.get().state == Reservation.State.RELEASED


@pytest.mark.django_db
@pytest.mark.parametrize("quantity", [3, 11])
def test_an_order_that_expired_before_it_came_gets_nothing(
    lamp: Product, receive_event: Callable[..., int], published_events: Callable[..., list[Any]], quantity: int
) -> None:
    """An order whose rejection arrives before the order itself takes no stock and publishes nothing."""
    order = placed({lamp.pk: quantity})
    receive_event(OrderRejected(order_id=order.order_id), key="k", source=SOURCE)
    receive_event(order, key="k", source=SOURCE)
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10
    assert published_events() == []


@pytest.mark.django_db(transaction=True)
def test_expiring_cancelling_and_reserving_at_once_leave_all_the_stock(
    lamp: Product, receive_event: Callable[..., int]
) -> None:
    """Whatever the order in which its events are handled, the stock of an order returns once."""
    for _ in range(10):
        order = placed({lamp.pk: 1})
        events = (order, OrderRejected(order_id=order.order_id), OrderCancelled(order_id=order.order_id))
        run_at_once(3, lambda turn, events=events: receive_event(events[turn], key=str(turn), source=SOURCE))
    lamp.refresh_from_db()
    assert lamp.inventory_count == 10


def held_by(customer: uuid.UUID) -> int:
    held = ReservedItem.objects.filter(reservation__state="held", reservation__customer_id=customer)
    return sum(held.values_list("quantity", flat=True))


@pytest.mark.django_db
def test_one_customer_does_not_hold_the_whole_stock(
    make_product: Callable[..., Product], receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """An account that orders as much as it can gets its limit of each product, and others can buy the rest."""
    products = [make_product(inventory_count=40, customer_limit=None) for _ in range(5)]
    greedy = uuid.uuid4()
    for product in products:
        for _ in range(15):
            receive_event(placed({product.pk: 3}, greedy), key="k", source=SOURCE)
    assert [Product.objects.get(pk=product.pk).inventory_count for product in products] == [31] * 5
    assert published_events("stock.rejected")[-1].data["reason"] == (
        f"{products[-1].name}: one customer may hold 10 pieces at once, and you hold 9."
    )
    receive_event(placed({product.pk: 10 for product in products}), key="k", source=SOURCE)
    assert [Product.objects.get(pk=product.pk).inventory_count for product in products] == [21] * 5


@pytest.mark.django_db
def test_one_order_is_bounded_too(
    make_product: Callable[..., Product], receive_event: Callable[..., int], published_events: Callable[..., list[Any]]
) -> None:
    """An order with too many pieces of one product reserves none of the others either."""
    first, second = make_product(customer_limit=None), make_product(customer_limit=None)
    receive_event(placed({first.pk: 1, second.pk: 6}), key="k", source=SOURCE)
    assert set(Product.objects.values_list("inventory_count", flat=True)) == {10}
    [answer] = published_events()
    assert answer.data["reason"] == f"{second.name}: one customer may hold 5 pieces at once."
    assert not CustomerHolding.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_orders_of_one_customer_at_once_do_not_pass_the_limit(
    make_product: Callable[..., Product], receive_event: Callable[..., int]
) -> None:
    """Orders handled at the same moment reserve as many pieces as one after the other would."""
    product, greedy = make_product(inventory_count=100, customer_limit=10), uuid.uuid4()
    for _ in range(3):
        run_at_once(8, lambda turn: receive_event(placed({product.pk: 3}, greedy), key=str(turn), source=SOURCE))
    product.refresh_from_db()
    assert (held_by(greedy), product.inventory_count) == (9, 91)
    assert CustomerHolding.objects.get().pieces == 9


@pytest.mark.django_db
@pytest.mark.parametrize("end", [OrderCancelled, OrderRejected])
def test_what_is_given_back_may_be_held_again(
    make_product: Callable[..., Product], receive_event: Callable[..., int], end: type[Any]
) -> None:
    """A customer may order returned pieces again, but no more than were returned."""
    product, customer = make_product(customer_limit=4), uuid.uuid4()
    first, second = placed({product.pk: 4}, customer), placed({product.pk: 4}, customer)
    receive_event(first, key="k", source=SOURCE)
    for _ in range(2):
        receive_event(end(order_id=first.order_id), key="k", source=SOURCE)
    assert CustomerHolding.objects.get().pieces == 0
    for order in (second, placed({product.pk: 1}, customer)):
        receive_event(order, key="k", source=SOURCE)
    assert held_by(customer) == 4


@pytest.mark.django_db
def test_after_a_day_it_is_a_sale(make_product: Callable[..., Product], receive_event: Callable[..., int]) -> None:
    """An order of a day ago no longer counts, and cancelling it then does not raise what the customer may reserve."""
    product, customer = make_product(inventory_count=20, customer_limit=5), uuid.uuid4()
    old = placed({product.pk: 5}, customer)
    receive_event(old, key="k", source=SOURCE)
    before = timezone.now() - holdings.PERIOD
    CustomerHolding.objects.update(since=before)
    Reservation.objects.update(created_at=before)
    receive_event(placed({product.pk: 5}, customer), key="k", source=SOURCE)
    receive_event(OrderCancelled(order_id=old.order_id), key="k", source=SOURCE)
    receive_event(placed({product.pk: 1}, customer), key="k", source=SOURCE)
    assert held_by(customer) == 5
    assert CustomerHolding.objects.get().pieces == 5


@pytest.mark.django_db
def test_a_product_without_a_limit_has_the_usual_one(
    make_product: Callable[..., Product], receive_event: Callable[..., int]
) -> None:
    """A product that was added before limits existed is limited to a quarter of its stock."""
    product, customer = make_product(inventory_count=40), uuid.uuid4()
    Product.objects.update(customer_limit=None)
    for quantity in (11, 10):
        receive_event(placed({product.pk: quantity}, customer), key="k", source=SOURCE)
    assert held_by(customer) == 10


@pytest.mark.django_db
def test_the_table_of_what_customers_hold_stays_small(
    make_product: Callable[..., Product], receive_event: Callable[..., int]
) -> None:
    """Only holdings that no longer count are deleted."""
    first, second = make_product(), make_product()
    receive_event(placed({first.pk: 1, second.pk: 1}), key="k", source=SOURCE)
    CustomerHolding.objects.filter(product=first).update(since=timezone.now() - 3 * holdings.PERIOD)
    forget_holdings()
    assert [holding.product_id for holding in CustomerHolding.objects.all()] == [second.pk]
