"""How fast one worker handles a backlog on 4 threads, beside what the database gives to 4 threads in the same run.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, a real `manage.py worker --only consumer`. Three handlers
take turns, each with all events: one row by the ORM, one row by a statement, and one row of each of a batch of 50 with
`bulk_create`. The first two have a transaction for each event, with its inbox row. The backlog waits in the stream
before the worker starts, and is timed from the first handler to the last, in several rounds.

`--handler least` writes nothing, so that only the transaction with the inbox row is left: no handler is faster. It is
timed by these rows, and has no target.

Beside it, what PostgreSQL gives to 4 threads that do no more than the same two INSERTs and the commit with bare
psycopg, before and after: the ceiling for a transaction each. At the end the batches drain a backlog of 100,000 once.
Processor time is that of the worker's process, and of the bare client's threads. Takes about three minutes.
"""

import statistics
import threading
import time
from dataclasses import dataclass

import psycopg

from event_rig import envelopes, send_by_nats, service, started, worker
from report import Cost, Report, at_least, at_most, parser, processor_seconds, reading
from tests.integration.servers import Nats, Postgres

BACKLOG = 10_000
LARGE_BACKLOG = 100_000
ROUNDS = 3
HANDLERS = ("orm", "sql", "batch")
LEAST = "least"
RECEIPTS = ("bench_receipt", "at", "count(*) - count(DISTINCT number)")
ENTRIES = (
    "bandstand_inbox WHERE subscription = 'receipts.least' AND handled_at >= to_timestamp({since})",
    "extract(epoch FROM handled_at)",
    "0",
)
TARGETS = {"orm": at_least(2_500), "sql": at_least(2_500), "batch": at_least(6_000), LEAST: None}  # events a second
DRAINED = at_most(30)  # seconds, for the large backlog in batches
THREADS = 4
BARE = 1_000  # transactions of each bare thread
PATIENCE = 90.0


@dataclass(frozen=True)
class Drain:
    """A backlog that a worker handled: seconds from the first handler to the last, and of its processor time."""

    handled: int
    seconds: float
    twice: int
    processor: float


def bare_transactions(postgres: Postgres, count: int) -> Cost:
    """Return the cost of one transaction, when 4 threads of psycopg alone do ``count`` each."""
    serial = "id bigserial PRIMARY KEY"
    tables = (
        f"bare_inbox ({serial}, name text UNIQUE, at timestamptz)",
        f"bare_receipt ({serial}, number bigint, at float8)",
    )
    for table in tables:
        postgres.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    postgres.execute("TRUNCATE bare_inbox, bare_receipt")

    def work(thread: int) -> None:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            for number in range(count):
                with connection.transaction():
                    name = f"{thread}-{number}"
                    connection.execute("INSERT INTO bare_inbox (name, at) VALUES (%s, now())", [name])
                    at = time.time()
                    connection.execute("INSERT INTO bare_receipt (number, at) VALUES (%s, %s)", [number, at])

    threads = [threading.Thread(target=work, args=[thread]) for thread in range(THREADS)]
    begun = reading()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cost = reading() - begun
    return Cost(cost.seconds / (THREADS * count), cost.processor / (THREADS * count))


def drain(postgres: Postgres, handler: str, backlog: int) -> Drain:
    """Drain the backlog by a worker with that handler."""
    postgres.execute("TRUNCATE bench_receipt")
    rows, at, twice = ENTRIES if handler == LEAST else RECEIPTS
    rows = rows.format(since=time.time())
    with worker("--only", "consumer", BENCH_HANDLER=handler) as process:
        begun = processor_seconds(process.pid)  # what the start took is not of the events
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if postgres.execute(f"SELECT count(*) >= %s FROM {rows}", parameters=[backlog])[0][0]:
                break
            time.sleep(0.5)
        used = processor_seconds(process.pid) - begun
    handled, seconds, more = postgres.execute(f"SELECT count(*), max({at}) - min({at}), {twice} FROM {rows}")[0]
    return Drain(int(handled), float(seconds), int(more), used)


class Rounds:
    """Backlogs that each handler drains in turn, and bare transactions before and after each."""

    def __init__(self, nats: Nats, postgres: Postgres, handlers: list[str]) -> None:
        self._nats, self._postgres = nats, postgres
        self.drains: dict[str, list[Drain]] = {handler: [] for handler in handlers}
        self.bare: dict[str, list[Cost]] = {handler: [] for handler in handlers}

    def run(self, backlog: int, bare: int) -> None:
        """Put a backlog into the stream, and drain it by each handler."""
        send_by_nats(self._nats.url(), envelopes(backlog), 500)
        for handler, drains in self.drains.items():
            before = bare_transactions(self._postgres, bare)
            drains.append(drain(self._postgres, handler, backlog))
            self.bare[handler] += [before, bare_transactions(self._postgres, bare)]

    def report(self, report: Report, handler: str) -> None:
        """Add the rows of a handler."""
        name, drains, bare = f"events.consumer.{handler}", self.drains[handler], self.bare[handler]
        ceiling = [1 / cost.seconds for cost in bare]
        each = statistics.median(cost.processor for cost in bare)
        report.add(f"{name}.bare_transactions", ceiling, "1/s", processor=each, note=f"({THREADS} threads)")
        handled = sum(each.handled for each in drains)
        report.add(
            name,
            [each.handled / each.seconds for each in drains],
            "events/s",
            target=TARGETS[handler],
            processor=sum(each.processor for each in drains) / handled,
            to=("bare transactions", ceiling),
            note=f"({handled:,} handled)",
        )
        report.add(f"{name}.twice", [each.twice for each in drains], "events", target=at_most(0))


def drain_large(report: Report, nats: Nats, postgres: Postgres, backlog: int) -> None:
    """Drain a large backlog in batches, and report the seconds."""
    send_by_nats(nats.url(), envelopes(backlog), 500)
    found = drain(postgres, "batch", backlog)
    if found.handled < backlog:
        raise SystemExit(f"Only {found.handled:,} of {backlog:,} events were handled in {PATIENCE:.0f} s.")
    processor, note = found.processor / found.handled, f"(for {found.handled:,})"
    report.add("events.consumer.batch.backlog", found.seconds, "s", target=DRAINED, processor=processor, note=note)


def main() -> None:
    """Measure and report."""
    options = parser(__doc__)
    options.add_argument(
        "--handler", choices=TARGETS, action="append", help="may be repeated; all but least unless given"
    )
    chosen = options.parse_args()
    report = Report(chosen)
    with started(Nats()) as nats, service(nats.url()) as postgres:
        with worker("--only", "relay"):
            pass  # it declares the stream
        handlers = chosen.handler or list(HANDLERS)
        rounds = Rounds(nats, postgres, handlers)
        for _ in range(1 if report.quick else ROUNDS):
            rounds.run(*(100, 20) if report.quick else (BACKLOG, BARE))
        for handler in handlers:
            rounds.report(report, handler)
        if "batch" in handlers:
            drain_large(report, nats, postgres, 500 if report.quick else LARGE_BACKLOG)
    report.end()


if __name__ == "__main__":
    main()
