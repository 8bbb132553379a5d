"""Shared by the benchmarks of events: the servers, the service in ``order_service``, its workers and its events."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nats

from report import Cost, reading

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bandstand.exceptions import ServerMissing  # noqa: E402 - the path has to be set first
from bandstand.topology import declare  # noqa: E402
from bandstand.workspace.runtime import find_rabbitmq  # noqa: E402
from tests.integration.servers import Nats, Postgres, tied  # noqa: E402

USER = "0190163d-8694-739b-aea5-966c26f8ad91"
PRODUCTS = [f"0190163d-8694-739b-aea5-966c26f8ad{number}" for number in (92, 93, 94)]


class SafeNats(Nats):
    """NATS that flushes each message to the disk before it confirms it, as PostgreSQL does."""

    def __init__(self) -> None:
        super().__init__()
        file = self.folder / "nats.json"
        configuration = json.loads(file.read_text())
        configuration["jetstream"]["sync_interval"] = "always"
        file.write_text(json.dumps(configuration))


def has_rabbitmq() -> bool:
    """Return whether the machine has the RabbitMQ that `bandstand up` would start."""
    try:
        find_rabbitmq()
    except ServerMissing:
        return False
    return True


@contextlib.contextmanager
def started(server: Any) -> Iterator[Any]:
    """Run a server."""
    with contextlib.closing(server):
        server.start()
        yield server


@contextlib.contextmanager
def service(broker_url: str = "memory://") -> Iterator[Postgres]:
    """Set this process up as the service, with its tables in a PostgreSQL of its own."""
    if broker_url.startswith(("nats:", "amqp:")):
        asyncio.run(declare(broker_url, "bench", ["order-service"]))
    with started(Postgres()) as postgres:
        os.environ.update(
            DATABASE_URL=postgres.url(),
            BROKER_URL=broker_url,
            DJANGO_SETTINGS_MODULE="order_service.settings",
            PYTHONPATH=str(HERE),
        )
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0, run_syncdb=True)
        try:
            yield postgres
        finally:
            connections.close_all()
            connections["default"].close_pool()  # type: ignore[attr-defined]


@contextlib.contextmanager
def worker(*options: str, broker_url: str | None = None, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `manage.py worker` of the service, with ``more`` in its environment; it is connected when this begins."""
    with tempfile.TemporaryDirectory() as name:
        ready, log = Path(name) / "ready", Path(name) / "log"
        environment = {**os.environ, "BANDSTAND_READY_FILE": str(ready), **more}
        if broker_url:
            environment["BROKER_URL"] = broker_url
        with log.open("wb") as sink:
            command = tied([sys.executable, "-m", "django", "worker", *options])
            process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
        try:
            deadline = time.monotonic() + 30
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"The worker did not start:\n{log.read_text()}")
                time.sleep(0.02)
            yield process
        finally:
            process.terminate()
            process.wait(30)


def order_placed(number: int) -> Any:
    """Return an event of a usual size."""
    from order_service.events import Line, OrderPlaced

    return OrderPlaced(
        order_id=str(number),
        user_id=USER,
        user_email="somebody@example.com",
        items=[Line(product_id=product, quantity=2) for product in PRODUCTS],
        total_amount="59.70",
        currency="EUR",
        number=number,
    )


def envelopes(count: int) -> list[tuple[str, bytes]]:
    """Return that many events as they travel, each with its id; each is of an order of its own."""
    from bandstand.context import new_context
    from bandstand.events.envelope import encode, uuid7

    context = new_context()
    ids = [uuid7() for _ in range(count)]
    return [
        (name, encode(order_placed(number), id=name, source="order-service", key=str(number), context=context))
        for number, name in enumerate(ids)
    ]


def window() -> int:
    """Return how many messages the relay has in flight: two batches."""
    from bandstand.conf import get_settings

    return 2 * get_settings().events.batch


def send_by_nats(url: str, messages: Sequence[tuple[str, bytes]], in_flight: int) -> Cost:
    """Send with nats-py alone, with a sliding window of ``in_flight`` unconfirmed messages."""
    return asyncio.run(_send_by_nats(url, messages, in_flight))


async def _send_by_nats(url: str, messages: Sequence[tuple[str, bytes]], in_flight: int) -> Cost:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream(publish_async_max_pending=in_flight)
        begun = reading()
        confirmations = [
            await jetstream.publish_async(
                "bench.events.order-service.order.placed", body, headers={"Nats-Msg-Id": name}
            )
            for name, body in messages
        ]
        await asyncio.gather(*confirmations)
        return reading() - begun
    finally:
        await client.close()
