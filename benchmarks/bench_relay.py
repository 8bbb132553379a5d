"""How fast one relay process empties the outbox, beside the broker's bare client with the same batch in the same run.

Real PostgreSQL (fsync on) and NATS JetStream from the wheels, once as NATS is by default (flushed to the disk every
two minutes) and once with `sync_interval: always`; RabbitMQ (quorum queue, archive stream) where it is installed. A
backlog of events of different orders is committed at once, under the eyes of a running `manage.py worker --only
relay`, and timed from the commit to the last confirmation that is recorded. The bare client has no database and sends
the same bytes, by nats-py's `publish_async` and pika's `basic_publish`, a batch confirmed before the next; the relay
has two batches in flight and sends each in one piece, so it may well be faster. Both take turns, figures are medians of
the rounds. Takes about 50 s.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from event_rig import Report, SafeNats, envelopes, processor_seconds, send_raw, service, started, worker
from tests.integration.optional.servers import RabbitMq, has_rabbitmq
from tests.integration.servers import Nats, Postgres

ROWS = 3_000
SLOW_ROWS = 1_000  # where the broker flushes each message
BUDGET = 10.0  # seconds for each broker
Bare = Callable[[list[tuple[str, bytes]]], float]
"""Sends the messages and returns the seconds that it took."""

PATIENCE = 60.0  # seconds for one round
SHARE = 0.75  # of the bare client, to reach


def fill_outbox(messages: list[tuple[str, bytes]]) -> float:
    """Commit the messages as rows of the outbox, and tell the relay; return the time of the commit."""
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


def compare(report: Report, postgres: Postgres, bare: Bare, *, name: str, url: str, count: int, target: int) -> None:
    """Let the relay and the bare client take turns, and report both."""
    relayed, raw, shares = [], [], []
    with worker("--only", "relay", broker_url=url) as process:
        relay_rate(postgres, 500)  # connections, prepared statements, the stream
        end = time.monotonic() + BUDGET
        used = processor_seconds(process.pid)
        while not raw or time.monotonic() < end:
            relayed.append(relay_rate(postgres, count))
            raw.append(count / bare(envelopes(count)))
            shares.append(relayed[-1] / raw[-1])
        used = (processor_seconds(process.pid) - used) / (count * len(raw))
    name, rounds = f"events.relay.{name}", f"({len(raw)} rounds, best {max(relayed):,.0f})"
    ceiling = statistics.median(raw)
    report.add(f"{name}.bare_client", ceiling, "events/s", note=f"(best {max(raw):,.0f})")
    rate = statistics.median(relayed)
    report.add(name, rate, "events/s", to=("the bare client", ceiling), target=f"at least {target:,}", note=rounds)
    report.add(f"{name}.share", statistics.median(shares), "of pairs", target=f"at least {SHARE}")
    report.add(f"{name}.processor", 1e6 * used, "µs/event", note="(of the relay's process)")


def batch() -> int:
    """Return how many rows the relay has in flight at once."""
    from bandstand.conf import get_settings

    return get_settings().events.batch


def bare_nats(server: Nats) -> Bare:
    """Return what sends with nats-py."""

    async def send(jetstream: Any, messages: list[tuple[str, bytes]]) -> float:
        return await send_raw(jetstream, messages, batch())

    return lambda messages: float(server.jetstream(lambda jetstream: send(jetstream, messages)))


def bare_rabbitmq(url: str) -> Bare:
    """Return what sends with pika: persistent, mandatory, in confirm mode."""
    return lambda messages: asyncio.run(_send_by_pika(url, messages))


async def _send_by_pika(url: str, messages: list[tuple[str, bytes]]) -> float:
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Any] = loop.create_future()
    ready, confirmed = asyncio.Event(), asyncio.Event()
    last = 0
    open_tags: set[int] = set()

    def on_confirm(frame: Any) -> None:
        tag = frame.method.delivery_tag
        assert isinstance(frame.method, pika.spec.Basic.Ack), "RabbitMQ refused a message"
        open_tags.difference_update([each for each in open_tags if each <= tag] if frame.method.multiple else [tag])
        if not open_tags:
            confirmed.set()

    connection = AsyncioConnection(
        pika.URLParameters(url),
        on_open_callback=lambda connection: connection.channel(on_open_callback=opened.set_result),
        on_open_error_callback=lambda _, error: opened.set_exception(error),
    )
    channel = await opened
    channel.confirm_delivery(on_confirm, callback=lambda _: ready.set())
    await ready.wait()
    begun = time.perf_counter()
    for first in range(0, len(messages), batch()):
        confirmed.clear()
        for name, body in messages[first : first + batch()]:
            last += 1
            open_tags.add(last)
            properties = pika.BasicProperties(message_id=name, delivery_mode=2)
            channel.basic_publish("bench.events", "order-service.order.placed", body, properties, mandatory=True)
        await confirmed.wait()
    taken = time.perf_counter() - begun
    closed = asyncio.Event()
    connection.add_on_close_callback(lambda *_: closed.set())
    connection.close()
    await closed.wait()
    return taken


@contextmanager
def rabbitmq() -> Iterator[RabbitMq]:
    """Run RabbitMQ."""
    with tempfile.TemporaryDirectory() as folder, started(RabbitMq(Path(folder))) as server:
        yield server


def main() -> None:
    """Measure, print, and say the machine."""
    report = Report()
    with service() as postgres:
        with started(Nats()) as nats:
            compare(report, postgres, bare_nats(nats), name="nats", url=nats.url(), count=ROWS, target=8000)
        with started(SafeNats()) as nats:
            compare(
                report, postgres, bare_nats(nats), name="nats_sync_always", url=nats.url(), count=SLOW_ROWS, target=3000
            )
        if has_rabbitmq():
            with rabbitmq() as server:
                url = server.url()
                compare(report, postgres, bare_rabbitmq(url), name="rabbitmq", url=url, count=ROWS, target=8000)
        else:
            print("RabbitMQ is not installed here: left out.")
    report.end()


if __name__ == "__main__":
    main()
