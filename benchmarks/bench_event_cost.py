"""The processor time of one event at 10 events a second, over all processes that take part.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, and a real `manage.py worker` that relays and handles.
This process is the service that publishes, each event in a transaction of its own; the handler writes one row. At that
rate nothing is batched, so this is the cost of an event in a service with little to do, wake-ups included. Each round
measures the processes while nothing is published, and then for as long while ten events a second are; the difference is
divided by the events. Takes about two minutes.
"""

import time
from collections.abc import Callable

from event_rig import order_placed, service, started, worker
from platform_rig import seconds, tree
from report import Report, at_most, parser
from tests.integration.servers import Nats, Postgres, Server

RATE = 10.0
ROUNDS = 5
LASTING = 10.0  # seconds of each half of a round
PATIENCE = 30.0
LIMIT = 5.0  # milliseconds: a twentieth of a core at this rate


def publish_for(lasting: float, postgres: Postgres) -> int:
    """Publish for ``lasting`` seconds, wait until all events are handled, and return their number."""
    from django.db import transaction

    from bandstand.events import publish

    postgres.execute("TRUNCATE bench_receipt")
    count, begun = int(RATE * lasting), time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        with transaction.atomic():
            publish(order_placed(number), key=str(number))
    time.sleep(max(0.0, begun + lasting - time.monotonic()))
    while postgres.execute("SELECT count(*) FROM bench_receipt")[0][0] < count:
        if time.monotonic() > begun + lasting + PATIENCE:
            raise SystemExit(f"{count} events were not handled in {PATIENCE:.0f} s.")
        time.sleep(0.1)
    return count


def running_pid(server: Server) -> int:
    """Return the id of a server's process."""
    assert server.process is not None
    return server.process.pid


def cost(roots: dict[str, int], work: Callable[[], object]) -> dict[str, float]:
    """Return the share of a core that each of the processes uses during ``work``."""

    def used() -> dict[str, float]:
        own = {"publisher": time.process_time()}
        return own | {name: seconds(tree(pid)) for name, pid in roots.items()}

    before, begun = used(), time.monotonic()
    work()
    after, taken = used(), time.monotonic() - begun
    return {name: (after[name] - before[name]) / taken for name in after}


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    rounds, lasting = (1, 2.0) if report.quick else (ROUNDS, LASTING)
    found: list[dict[str, float]] = []
    with started(Nats()) as nats, service(nats.url()) as postgres, worker(BENCH_HANDLER="sql") as process:
        publish_for(1.0, postgres)
        servers = {each.name: running_pid(each) for each in (nats, postgres)}
        roots = {"worker": process.pid, **servers}
        for _ in range(rounds):
            idle = cost(roots, lambda: time.sleep(lasting))
            busy = cost(roots, lambda: publish_for(lasting, postgres))
            found.append({name: 1000 * (busy[name] - idle[name]) / RATE for name in busy})
    for name in found[0]:
        report.add(f"events.cost.{name}", [each[name] for each in found], "ms/event")
    every = [sum(each.values()) for each in found]
    report.add("events.cost.all", every, "ms/event", target=at_most(LIMIT), note=f"(at {RATE:.0f} events a second)")
    report.end()


if __name__ == "__main__":
    main()
