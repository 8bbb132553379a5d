"""How fast one worker handles a backlog: inbox row and one row of the handler in a transaction each, on 4 threads.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, a real `manage.py worker --only consumer`. The backlog
waits in the stream before the worker starts, and is timed from the first handler to the last. Beside it, in the same
run, what PostgreSQL gives to 4 threads that do no more than the same two INSERTs and the commit with bare psycopg: the
ceiling for a transaction each. Takes 20 to 50 s.
"""

import threading
import time
from typing import Any

import psycopg

from event_rig import Report, envelopes, processor_seconds, send_raw, service, started, worker
from tests.integration.servers import Nats, Postgres

BACKLOG = 20_000
THREADS = 4
BARE = 1_000  # transactions of each bare thread
PATIENCE = 40.0


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


def fill_stream(server: Nats) -> None:
    """Put the backlog into the stream, which the first worker has declared."""
    messages = envelopes(BACKLOG)

    async def send(jetstream: Any) -> float:
        return await send_raw(jetstream, messages, 500)

    server.jetstream(send)


def drain(postgres: Postgres) -> tuple[int, float, int, float]:
    """Return how many events were handled in how many seconds, how many twice, and the seconds of a core."""
    with worker("--only", "consumer") as process:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if postgres.execute("SELECT count(*) >= %s FROM bench_receipt", parameters=[BACKLOG])[0][0]:
                break
            time.sleep(0.5)
        used = processor_seconds(process.pid)
    query = "SELECT count(*), max(at) - min(at), count(*) - count(DISTINCT number) FROM bench_receipt"
    handled, seconds, twice = postgres.execute(query)[0]
    return int(handled), float(seconds), int(twice), used


def main() -> None:
    """Measure, print, and say the machine."""
    report = Report()
    with started(Nats()) as nats, service(nats.url()) as postgres:
        with worker("--only", "relay"):
            fill_stream(nats)
        before = bare_rate(postgres)
        handled, seconds, twice, used = drain(postgres)
        ceiling = (before + bare_rate(postgres)) / 2
    rate = handled / seconds
    report.add("events.consumer.bare_transactions", ceiling, "1/s", note=f"({THREADS} threads, before and after)")
    share = ("bare transactions", ceiling)
    report.add("events.consumer", rate, "events/s", to=share, target="at least 2,500", note=f"({handled:,} handled)")
    report.add("events.consumer.backlog", seconds, "s", target="100,000 in 30 s", note=f"(for {handled:,})")
    report.add("events.consumer.processor", 1e6 * used / handled, "µs/event", note="(of the worker's process)")
    report.add("events.consumer.twice", twice, "events", target="0")
    report.end()
    if twice:
        raise SystemExit(f"{twice} events had their effect twice.")


if __name__ == "__main__":
    main()
