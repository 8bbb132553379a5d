"""How fast one relay process empties the outbox, beside the broker's bare client in the same run.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, once as NATS is by default (flushed to the disk every
two minutes) and once with `sync_interval: always`; RabbitMQ (quorum queue, archive stream) where it is installed. A
backlog of events of different orders is committed at once while a `manage.py worker --only relay` runs, and timed from
the commit to the last confirmation that is recorded. The bare client has no database and sends the same bytes with as
many messages in flight as the relay, two batches, in a sliding window: nats-py's `publish_async` and pika's
`basic_publish` with confirms. Both take turns. Processor time is that of the relay's process and that of the bare
client's. Takes about a minute.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pika_client
from event_rig import SafeNats, envelopes, has_rabbitmq, send_by_nats, service, started, window, worker
from report import Cost, Report, Target, at_least, parser, processor_seconds
from tests.integration.optional.servers import RabbitMq
from tests.integration.servers import Nats, Postgres

ROWS = 3_000
SLOW_ROWS = 1_000  # where the broker flushes each message
QUICK_ROWS = 200
BUDGET = 12.0  # seconds for each broker
PATIENCE = 60.0  # seconds for one round
RATE, SAFE_RATE = at_least(8_000), at_least(3_000)  # events a second
SHARE = at_least(0.75)  # of the bare client

EXCHANGE = "bench.events.order-service"

Bare = Callable[[list[tuple[str, bytes]]], Cost]
"""Sends the messages and returns what it cost."""


def fill_outbox(messages: list[tuple[str, bytes]]) -> float:
    """Commit the messages as rows of the outbox, and notify the relay; return the time of the commit."""
    from django.db import connection, transaction
    from django.utils import timezone

    from bandstand.events import wakeup
    from bandstand.events.models import OutboxMessage

    now = timezone.now()
    rows = [
        OutboxMessage(message_id=name, type="order.placed", key=str(number), body=body.decode(), created_at=now)
        for number, (name, body) in enumerate(messages)
    ]
    with transaction.atomic():
        OutboxMessage.objects.bulk_create(rows, batch_size=1000)
        wakeup.on_commit(connection)
    return time.time()


def relay_rate(postgres: Postgres, count: int) -> float:
    """Return the rows a second of the worker that runs."""
    committed = fill_outbox(envelopes(count))
    deadline = time.monotonic() + PATIENCE
    while postgres.execute("SELECT EXISTS (SELECT 1 FROM bandstand_outbox WHERE sent_at IS NULL)")[0][0]:
        if time.monotonic() > deadline:
            raise SystemExit(f"The relay did not send {count:,} rows in {PATIENCE:.0f} s.")
        time.sleep(0.1)
    last = float(postgres.execute("SELECT extract(epoch FROM max(sent_at)) FROM bandstand_outbox")[0][0])
    postgres.execute("TRUNCATE bandstand_outbox")
    return count / (last - committed)


def bare_nats(url: str) -> Bare:
    """Return what sends with nats-py."""
    return lambda messages: send_by_nats(url, messages, window())


def bare_rabbitmq(url: str) -> Bare:
    """Return what sends with pika."""
    return lambda messages: pika_client.publish(url, EXCHANGE, "order-service.order.placed", messages, window())


class Comparison:
    """Rounds of the relay and of a bare client in turns."""

    def __init__(self, postgres: Postgres, bare: Bare, count: int) -> None:
        self._postgres, self._bare, self._count = postgres, bare, count
        self.relayed: list[float] = []
        self.raw: list[float] = []
        self._processor = [0.0, 0.0]

    def run(self, pid: int, budget: float) -> None:
        """Alternate relay and client for ``budget`` seconds; ``pid`` is the relay's process."""
        relay_rate(self._postgres, min(500, self._count))  # connections, prepared statements, the stream
        end = time.monotonic() + budget
        while not self.raw or time.monotonic() < end:
            used = processor_seconds(pid)
            self.relayed.append(relay_rate(self._postgres, self._count))
            self._processor[0] += processor_seconds(pid) - used
            cost = self._bare(envelopes(self._count))
            self.raw.append(self._count / cost.seconds)
            self._processor[1] += cost.processor

    @property
    def shares(self) -> list[float]:
        """The relay's rate divided by the bare client's, of each round."""
        return [relayed / raw for relayed, raw in zip(self.relayed, self.raw, strict=True)]

    @property
    def processor(self) -> list[float]:
        """The seconds of processor time for one event, of the relay and of the bare client."""
        return [used / (self._count * len(self.raw)) for used in self._processor]


def compare(
    report: Report, postgres: Postgres, bare: Bare, *, name: str, url: str, count: int = ROWS, target: Target = RATE
) -> None:
    """Measure the relay and the bare client in turns, and report both."""
    count = QUICK_ROWS if report.quick else count
    comparison = Comparison(postgres, bare, count)
    with worker("--only", "relay", broker_url=url) as process:
        comparison.run(process.pid, 0 if report.quick else BUDGET)
    relay, client = comparison.processor
    name = f"events.relay.{name}"
    beside = ("the bare client", comparison.raw)
    report.add(f"{name}.bare_client", comparison.raw, "events/s", processor=client, note=f"({window()} in flight)")
    report.add(name, comparison.relayed, "events/s", target=target, processor=relay, to=beside)
    report.add(f"{name}.share", comparison.shares, "of bare", target=SHARE, note="(rounds in pairs)")


@contextmanager
def rabbitmq() -> Iterator[RabbitMq]:
    """Run RabbitMQ."""
    with tempfile.TemporaryDirectory() as folder, started(RabbitMq(Path(folder))) as server:
        yield server


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    with service() as postgres:
        with started(Nats()) as nats:
            url = nats.url()
            nats.declare("bench", "order-service")
            compare(report, postgres, bare_nats(url), name="nats", url=url)
        with started(SafeNats()) as nats:
            url, name = nats.url(), "nats_sync_always"
            nats.declare("bench", "order-service")
            compare(report, postgres, bare_nats(url), name=name, url=url, count=SLOW_ROWS, target=SAFE_RATE)
        if has_rabbitmq():
            with rabbitmq() as server:
                server.declare("bench", "order-service")
                compare(report, postgres, bare_rabbitmq(server.url()), name="rabbitmq", url=server.url())
        else:
            report.leave_out("rabbitmq: it is not installed; on Debian: apt-get install rabbitmq-server")
    report.end()


if __name__ == "__main__":
    main()
