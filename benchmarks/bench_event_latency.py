"""From the commit of an event to its handler in another process: at rest, at 200 events a second, and behind PgBouncer.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, a real `manage.py worker` that relays and handles. Each
event is timed from just before its COMMIT to the first line of its handler, on the clock of this machine, so the flush
of the commit itself is part of it. Events are due at fixed times, whatever became of those before; the rate that was
reached is printed. The median is of all events, the 99th percentile of each round. Processor time is the worker's for
one event, with what it costs at rest. Behind a PgBouncer that shares sessions by transaction no notification reaches
the worker, so its relay looks ten times a second; an order of the shop, which takes two events, is then confirmed in
about 0.3 s. Takes about 80 s.
"""

import sys
import time

from event_rig import order_placed, service, started, worker
from report import Report, Target, at_most, parser, processor_seconds
from tests.integration.optional.pgbouncer import PgBouncer
from tests.integration.servers import Nats, Postgres
from tests.programs import find_program

WARM_UP = 50
LOADS = (("rest", 40, 400), ("200_a_second", 200, 2000))
"""Name, events a second, and how many in each round."""

ROUNDS = 3
P50, P99 = at_most(5), at_most(25)  # milliseconds
POOLED_P50, POOLED_P99 = at_most(100), at_most(150)
POOLED_RATE, POOLED_COUNT = 7, 70  # seldom, and at no multiple of the interval at which the relay looks
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


class Load:
    """Rounds of events at a rate; ``worst`` and ``p99`` are of each round."""

    def __init__(self, postgres: Postgres, rate: float) -> None:
        self._postgres, self._rate = postgres, rate
        self.times: list[float] = []
        self.p99: list[float] = []
        self.worst: list[float] = []
        self.reached: list[float] = []

    def run(self, first: int, count: int) -> None:
        """Publish that many events from number ``first`` and wait until all are handled."""
        committed, reached = publish_all(first, self._rate, count)
        times = handled(self._postgres, committed)
        self.times += times
        self.p99.append(times[int(len(times) * 0.99)])
        self.worst.append(times[-1])
        self.reached.append(reached)

    def report(self, report: Report, load: str, processor: float, p50: Target = P50, p99: Target = P99) -> None:
        """Add the rows; ``processor`` is of the worker for one event, in seconds."""
        name = f"events.latency.{load}"
        note = f"({len(self.times):,} events)"
        report.add(f"{name}.p50", self.times, "ms", target=p50, processor=processor, note=note)
        report.add(f"{name}.p99", self.p99, "ms", target=p99)
        report.add(f"{name}.worst", self.worst, "ms")
        report.add(f"{name}.rate", self.reached, "events/s", to=("asked for", self._rate))


def measure(report: Report, postgres: Postgres) -> int:
    """Measure with the worker on PostgreSQL itself; return the number of events."""
    with worker(BENCH_HANDLER="sql") as process:
        handled(postgres, publish_all(0, 100, WARM_UP)[0])
        first = WARM_UP
        for name, rate, each in LOADS:
            count, rounds = (20, 1) if report.quick else (each, ROUNDS)
            load, used = Load(postgres, rate), processor_seconds(process.pid)
            for _ in range(rounds):
                load.run(first, count)
                first += count
            load.report(report, name, (processor_seconds(process.pid) - used) / (count * rounds))
    return first


def measure_pooled(report: Report, postgres: Postgres, first: int) -> None:
    """Measure with the worker behind PgBouncer, for events from number ``first``."""
    if not find_program("pgbouncer"):
        report.leave_out("PgBouncer is not installed")
        return
    count = 10 if report.quick else POOLED_COUNT
    pooler = PgBouncer(postgres, sessions=8)
    with started(pooler), worker(BENCH_HANDLER="sql", DATABASE_URL=pooler.url("postgres")) as process:
        handled(postgres, publish_all(first, POOLED_RATE, 10)[0])
        load, used = Load(postgres, POOLED_RATE), processor_seconds(process.pid)
        load.run(first + 10, count)
        processor = (processor_seconds(process.pid) - used) / count
    load.report(report, "pgbouncer", processor, POOLED_P50, POOLED_P99)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with started(Nats()) as nats, service(nats.url()) as postgres:
        measure_pooled(report, postgres, measure(report, postgres))
    report.end()


if __name__ == "__main__":
    main()
