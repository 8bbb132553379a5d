"""From the commit of an event to its handler in another process: at rest, and at 200 events a second.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, a real `manage.py worker` that relays and handles. Each
event is timed from just before its COMMIT to the first line of its handler, on the clock of this machine, so the flush
of the commit itself is part of it. Events are due at fixed times, whatever became of those before; the rate that was
reached is printed. Takes about 25 s.
"""

import statistics
import sys
import time

from event_rig import Report, order_placed, service, started, worker
from tests.integration.servers import Nats, Postgres

WARM_UP = 50
LOADS = (("rest", 40, 400), ("200_a_second", 200, 2000))
"""Name, events a second, how many."""

P50, P99 = 5.0, 25.0  # milliseconds, to reach at 200 a second
KEYS = 500


def publish_all(first: int, rate: float, count: int) -> tuple[dict[int, float], float]:
    """Publish events from number ``first``, each when it is due; return when each was committed, and the rate."""
    from django.db import transaction

    from bandstand.events import publish

    committed: dict[int, float] = {}
    begun = time.perf_counter()
    for number in range(first, first + count):
        time.sleep(max(0.0, begun + (number - first) / rate - time.perf_counter()))
        with transaction.atomic():
            publish(order_placed(number), key=str(number % KEYS))
            committed[number] = time.time()
    return committed, count / (time.perf_counter() - begun)


def handled(postgres: Postgres, numbers: dict[int, float]) -> list[float]:
    """Wait for all of them; return the milliseconds of each, sorted."""
    deadline = time.monotonic() + 30
    while True:
        at = dict(postgres.execute("SELECT number, at FROM bench_receipt"))
        if at.keys() >= numbers.keys():
            return sorted(1000 * (at[number] - committed) for number, committed in numbers.items())
        if time.monotonic() > deadline:
            sys.exit(f"{len(numbers.keys() - at.keys()):,} events were not handled in time.")
        time.sleep(0.2)


def main() -> None:
    """Measure, print, and say the machine."""
    report = Report()
    with started(Nats()) as nats, service(nats.url()) as postgres, worker(BENCH_HANDLER="sql"):
        handled(postgres, publish_all(0, 100, WARM_UP)[0])
        first = WARM_UP
        for load, rate, count in LOADS:
            committed, reached = publish_all(first, rate, count)
            first += count
            times = handled(postgres, committed)
            name = f"events.latency.{load}"
            p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
            report.add(f"{name}.p50", p50, "ms", to=("limit of 5 ms", P50), target="at most 5")
            report.add(f"{name}.p99", p99, "ms", to=("limit of 25 ms", P99), target="at most 25")
            report.add(f"{name}.worst", times[-1], "ms")
            report.add(f"{name}.rate", reached, "events/s", to=("asked for", float(rate)), note=f"({count:,} events)")
    report.end()


if __name__ == "__main__":
    main()
