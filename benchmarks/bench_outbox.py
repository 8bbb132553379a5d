"""What publish() adds to a write: an order with three items through the ORM in one transaction, with and without it.

Real PostgreSQL (fsync on) from the wheel. A write is what the shop does for an order: BEGIN, the order, its items with
one INSERT, COMMIT, under the context of a request. The event is of a usual size (0.9 kB). Both ways take turns in short
rounds, so that other work on the machine meets both. At rest the commit's flush is most of a write; with 8 writers at
once it is shared, and what counts is Python and PostgreSQL's own work. Figures are medians over all writes. Takes about
45 s.
"""

import contextlib
import random
import statistics
import threading
import time
from collections.abc import Callable
from decimal import Decimal

from event_rig import PRODUCTS, USER, Report, order_placed, service

BUDGET = 20.0  # seconds for each number of writers
ROUND = 5  # writes of one way before the other has its turn: short, so that a change of the load meets both


def write(publishing: bool) -> None:
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


def run_round(publishing: bool, times: list[float]) -> None:
    """Write for one round and note the seconds of each write; a request has bound a context by then."""
    from bandstand.context import bind, new_context

    for _ in range(ROUND):
        with bind(new_context()):
            begun = time.perf_counter()
            write(publishing)
            times.append(time.perf_counter() - begun)


def measure(writers: int) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of each write without and with publishing, and the ratio of each pair of rounds."""
    ratios: list[float] = []
    without: list[float] = []
    with_event: list[float] = []
    end = time.monotonic() + BUDGET
    with contextlib.closing(Crew(writers)) as crew:
        crew.run(lambda times: run_round(True, times))  # connections, prepared statements
        while time.monotonic() < end:
            order = [False, True]
            random.shuffle(order)
            pair = {publishing: crew.run(lambda times, way=publishing: run_round(way, times)) for publishing in order}  # type: ignore[misc]
            without += pair[False]
            with_event += pair[True]
            ratios.append(statistics.median(pair[True]) / statistics.median(pair[False]))
    return without, with_event, ratios


class Crew:
    """Threads that do the same at the same time, each with its own connection for its whole life."""

    def __init__(self, size: int) -> None:
        self._work: Callable[[list[float]], None] | None = None
        self._times: list[list[float]] = []
        self._gate = threading.Barrier(size + 1)
        self._threads = [threading.Thread(target=self._live) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[[list[float]], None]) -> list[float]:
        """Let each thread do ``work``; return what they noted."""
        self._work, self._times = work, []
        self._gate.wait()
        self._gate.wait()
        return [seconds for times in self._times for seconds in times]

    def close(self) -> None:
        """Send the threads home."""
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
            times: list[float] = []
            self._work(times)
            self._times.append(times)
            self._gate.wait()


def main() -> None:
    """Measure, print, and say the machine."""
    report = Report()
    with service() as postgres:
        for writers in (1, 8):
            without, with_event, ratios = measure(writers)
            plain, published = (1000 * statistics.median(times) for times in (without, with_event))
            name = f"events.outbox.{writers}_writer" + ("s" if writers > 1 else "")
            note = f"({len(ratios)} pairs of rounds)"
            report.add(f"{name}.plain", plain, "ms", note=note)
            report.add(f"{name}.published", published, "ms", to=("the same write", plain))
            overhead = 100 * (statistics.median(ratios) - 1)
            report.add(f"{name}.overhead", overhead, "%", to=("limit of 15 %", 15.0), target="at most 15 %")
            postgres.execute("TRUNCATE bench_order, bench_order_item, bandstand_outbox")
    report.end()


if __name__ == "__main__":
    main()
