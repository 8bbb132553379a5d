"""The cost that publish() adds to a write: POST /orders/ with three items, as the shop writes it.

Real PostgreSQL (fsync on) from the wheel. A write is what the shop's view does after its prices are known: the
idempotency key, a savepoint with the order, its items in one INSERT and the event, the stored answer and COMMIT, under
the context of a request with a deadline. The event is of a usual size (0.9 kB). Writes with the event and
without it take turns in short rounds, so that other work on the machine meets both. At rest the commit's flush is most
of a write; with 8 writers at once it is shared, and what counts is Python and PostgreSQL's own work. Times are those of
all writes, the overhead is that of each pair of rounds. Processor time is that of the writing threads, without
PostgreSQL's. Takes about 45 s.
"""

import contextlib
import functools
import random
import statistics
import threading
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from event_rig import PRODUCTS, USER, order_placed, service
from report import Cost, Report, at_most, parser

BUDGET = 20.0  # seconds for each number of writers
TIMEOUT = 30.0  # seconds, as the gateway gives a request
ROUND = 5  # writes of one way before the other has its turn: short, so that a change of the load meets both
OVERHEAD = at_most(15)  # per cent


def place(publishing: bool) -> str:
    """Write an order, and publish it in the same transaction or not."""
    from django.db import transaction

    from bandstand.events import publish
    from order_service.models import Order, OrderItem

    with transaction.atomic():
        order = Order.objects.create(
            user_id=USER,
            user_email="somebody@example.com",
            status="placed",
            total_amount=Decimal("59.70"),
            currency="EUR",
            shipping_address="Hauptstraße 1, 10115 Berlin",
        )
        OrderItem.objects.bulk_create(
            OrderItem(order=order, product_id=product, product_name="A product", quantity=2, price=Decimal("9.95"))
            for product in PRODUCTS
        )
        if publishing:
            publish(order_placed(order.pk), key=str(order.pk))
    return str(order.pk)


@functools.cache
def view(publishing: bool) -> Callable[[Any], Any]:
    """Return the view of ``POST /orders/``; nobody has to sign in, and nothing is read from the body."""
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from bandstand.api import idempotent

    class Orders(APIView):
        authentication_classes = ()
        permission_classes = ()

        @idempotent
        def post(self, _request: Any) -> Any:
            return Response({"id": place(publishing)}, status=201)

    return Orders.as_view()


def write(publishing: bool) -> None:
    """Answer one request."""
    from rest_framework.test import APIRequestFactory

    request = APIRequestFactory().post("/orders/", {}, format="json", HTTP_IDEMPOTENCY_KEY=str(uuid.uuid4()))
    answer = view(publishing)(request)
    assert answer.status_code == 201, answer.data


def run_round(publishing: bool, costs: list[Cost]) -> None:
    """Write for one round and note the cost of each write, in the context of a request."""
    from bandstand.context import bind, new_context

    for _ in range(ROUND):
        with bind(new_context(timeout=TIMEOUT)):
            begun, processor = time.perf_counter(), time.thread_time()
            write(publishing)
            costs.append(Cost(time.perf_counter() - begun, time.thread_time() - processor))


class Pairs:
    """Writes without an event and with one, by rounds in pairs."""

    def __init__(self) -> None:
        self.plain: list[Cost] = []
        self.published: list[Cost] = []
        self.overhead: list[float] = []
        self.processor_overhead: list[float] = []

    def add(self, plain: list[Cost], published: list[Cost]) -> None:
        """Add a round of each."""
        self.plain += plain
        self.published += published
        self.overhead.append(100 * (_seconds(published) / _seconds(plain) - 1))
        self.processor_overhead.append(100 * (_processor(published) / _processor(plain) - 1))

    def report(self, report: Report, name: str) -> None:
        """Add the rows."""
        plain, published = ([1000 * cost.seconds for cost in costs] for costs in (self.plain, self.published))
        report.add(f"{name}.plain", plain, "ms", processor=_processor(self.plain))
        report.add(
            f"{name}.published", published, "ms", processor=_processor(self.published), to=("the same write", plain)
        )
        note = f"({len(self.overhead)} pairs of rounds)"
        report.add(f"{name}.overhead", self.overhead, "%", target=OVERHEAD, note=note)
        report.add(f"{name}.processor_overhead", self.processor_overhead, "%", note="(of the writer's processor time)")


def _seconds(costs: list[Cost]) -> float:
    return statistics.median(cost.seconds for cost in costs)


def _processor(costs: list[Cost]) -> float:
    return statistics.median(cost.processor for cost in costs)


def measure(writers: int, budget: float) -> Pairs:
    """Write for ``budget`` seconds."""
    pairs = Pairs()
    end = time.monotonic() + budget
    with contextlib.closing(Crew(writers)) as crew:
        crew.run(lambda costs: run_round(True, costs))  # connections
        while not pairs.plain or time.monotonic() < end:
            order = [False, True]
            random.shuffle(order)
            pair = {publishing: crew.run(lambda costs, way=publishing: run_round(way, costs)) for publishing in order}  # type: ignore[misc]
            pairs.add(pair[False], pair[True])
    return pairs


class Crew:
    """Threads that do the same at the same time, each with its own connection for its whole life."""

    def __init__(self, size: int) -> None:
        self._work: Callable[[list[Cost]], None] | None = None
        self._costs: list[list[Cost]] = []
        self._gate = threading.Barrier(size + 1)
        self._threads = [threading.Thread(target=self._live) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[[list[Cost]], None]) -> list[Cost]:
        """Do ``work`` in each thread; return the costs that they noted."""
        self._work, self._costs = work, []
        self._gate.wait()
        self._gate.wait()
        return [cost for costs in self._costs for cost in costs]

    def close(self) -> None:
        """End the threads."""
        self._work = None
        self._gate.wait()
        for thread in self._threads:
            thread.join()

    def _live(self) -> None:
        from django.db import connection

        while True:
            self._gate.wait()
            if self._work is None:
                connection.close()
                return
            costs: list[Cost] = []
            self._work(costs)
            self._costs.append(costs)
            self._gate.wait()


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with service() as postgres:
        for writers in (1, 8):
            pairs = measure(writers, 0 if report.quick else BUDGET)
            pairs.report(report, f"events.outbox.{writers}_writer" + ("s" if writers > 1 else ""))
            postgres.execute(
                "TRUNCATE bench_order, bench_order_item, bandstand_outbox, bandstand_api_idempotencyrecord"
            )
    report.end()


if __name__ == "__main__":
    main()
