"""How fast one worker handles a backlog on 4 threads, beside what the database gives to 4 threads in the same run.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, a real `manage.py worker --only consumer`. Three handlers
take turns, each with all events: one row by the ORM, one row by a statement, and one row of each of a batch of 50 with
`bulk_create`. The first two have a transaction for each event, with its inbox row. The backlog waits in the stream
before the worker starts, and is timed from the first handler to the last.

`--handler least` writes nothing, so that only the transaction with the inbox row is left: no handler is faster. It is
timed by these rows, and has no target.

Beside it, what PostgreSQL gives to 4 threads that do no more than the same two INSERTs and the commit with bare
psycopg, before and after: the ceiling for a transaction each. Takes about a minute; `--backlog 100000` with
`--handler batch` measures the draining of a large one.
"""

import argparse
import threading
import time
from typing import Any

import psycopg

from event_rig import Report, envelopes, processor_seconds, send_raw, service, started, worker
from tests.integration.servers import Nats, Postgres

BACKLOG = 20_000
HANDLERS = ("orm", "sql", "batch")
LEAST = "least"
RECEIPTS = ("bench_receipt", "at", "count(*) - count(DISTINCT number)")
ENTRIES = ("bandstand_inbox WHERE subscription = 'receipts.least'", "extract(epoch FROM handled_at)", "0")
TARGETS = {"orm": "at least 2,500", "sql": "at least 2,500", "batch": "at least 6,000", LEAST: ""}
THREADS = 4
BARE = 1_000  # transactions of each bare thread
PATIENCE = 90.0


def bare_rate(postgres: Postgres) -> float:
    """Return the transactions a second of psycopg alone."""
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
            for number in range(BARE):
                with connection.transaction():
                    name = f"{thread}-{number}"
                    connection.execute("INSERT INTO bare_inbox (name, at) VALUES (%s, now())", [name])
                    at = time.time()
                    connection.execute("INSERT INTO bare_receipt (number, at) VALUES (%s, %s)", [number, at])

    threads = [threading.Thread(target=work, args=[thread]) for thread in range(THREADS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * BARE / (time.perf_counter() - begun)


def fill_stream(server: Nats, backlog: int) -> None:
    """Put the backlog into the stream, which the first worker has declared."""
    messages = envelopes(backlog)

    async def send(jetstream: Any) -> float:
        return await send_raw(jetstream, messages, 500)

    server.jetstream(send)


def drain(postgres: Postgres, handler: str, backlog: int) -> tuple[int, float, int, float]:
    """Return how many events were handled in how many seconds, how many twice, and the seconds of a core."""
    postgres.execute("TRUNCATE bench_receipt")
    rows, at, twice = ENTRIES if handler == LEAST else RECEIPTS
    with worker("--only", "consumer", BENCH_HANDLER=handler) as process:
        begun = processor_seconds(process.pid)  # what the start took is not of the events
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if postgres.execute(f"SELECT count(*) >= %s FROM {rows}", parameters=[backlog])[0][0]:
                break
            time.sleep(0.5)
        used = processor_seconds(process.pid) - begun
    handled, seconds, more = postgres.execute(f"SELECT count(*), max({at}) - min({at}), {twice} FROM {rows}")[0]
    return int(handled), float(seconds), int(more), used


def measure(report: Report, postgres: Postgres, handler: str, backlog: int) -> int:
    """Let a worker with that handler drain the backlog; return how many events had their effect twice."""
    before = bare_rate(postgres)
    handled, seconds, twice, used = drain(postgres, handler, backlog)
    ceiling = (before + bare_rate(postgres)) / 2
    name, rate = f"events.consumer.{handler}", handled / seconds
    report.add(f"{name}.bare_transactions", ceiling, "1/s", note=f"({THREADS} threads, before and after)")
    target = TARGETS[handler]
    report.add(name, rate, "events/s", to=("bare transactions", ceiling), target=target, note=f"({handled:,} handled)")
    report.add(f"{name}.backlog", seconds, "s", target="100,000 in 30 s", note=f"(for {handled:,})")
    report.add(f"{name}.processor", 1e6 * used / handled, "µs/event", note="(of the worker's process)")
    report.add(f"{name}.twice", twice, "events", target="0")
    return twice


def main() -> None:
    """Measure, print, and say the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=BACKLOG, help="events")
    parser.add_argument(
        "--handler", choices=TARGETS, action="append", help="may be repeated; all but least unless given"
    )
    options = parser.parse_args()
    report = Report()
    with started(Nats()) as nats, service(nats.url()) as postgres:
        with worker("--only", "relay"):
            fill_stream(nats, options.backlog)
        twice = sum(measure(report, postgres, handler, options.backlog) for handler in options.handler or HANDLERS)
    report.end()
    if twice:
        raise SystemExit(f"{twice} events had their effect twice.")


if __name__ == "__main__":
    main()
