"""What the RabbitMQ broker costs beside pika alone: publishing with confirms, and consuming with acknowledgements.

Both talk to one private RabbitMQ: persistent messages of 500 bytes, mandatory, to a quorum queue; a batch is confirmed
before the next is sent, as a relay does. pika runs alone on its loop, with nothing between it and the socket. Ours also
feeds the archive of the platform; a third line shows pika with such an archive, since that is what the server then has
to do. Rounds take turns; figures are medians. Prints a table and one JSON object a line. Takes at most 40 s.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pika
from django.conf import settings
from pika.adapters.select_connection import SelectConnection

from bandstand.events.brokers import Binding, BrokerOptions, Incoming, Outgoing, build_broker
from tests.integration.optional.servers import RabbitMq, has_rabbitmq

BODY = b"x" * 500
ROUNDS = 3
PUBLISHED = 4_000
CONSUMED = 4_000
PREFETCH = 64
BUDGET = 38.0  # seconds, with the start of the server
TARGET = 0.75  # of pika alone
TYPE = "order.placed"


def raw(parameters: pika.ConnectionParameters, work: Callable[[Any, Callable[[], None]], None]) -> float:
    """Run ``work(channel, done)`` on a connection's own loop; return the seconds from its start to ``done()``."""
    times: list[float] = []

    def done() -> None:
        times.append(time.perf_counter())
        connection.close()

    def opened(channel: Any) -> None:
        times.append(time.perf_counter())
        work(channel, done)

    connection = SelectConnection(
        parameters,
        on_open_callback=lambda connection: connection.channel(on_open_callback=opened),
        on_close_callback=lambda connection, _: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    return times[1] - times[0]


def raw_publish(parameters: pika.ConnectionParameters, exchange: str, batch: int) -> float:
    """Return messages a second."""

    def work(channel: Any, done: Callable[[], None]) -> None:
        sent = 0

        def more() -> None:
            nonlocal sent
            for number in range(batch):
                properties = pika.BasicProperties(
                    message_id=str(sent + number), content_type="application/json", delivery_mode=2
                )
                channel.basic_publish(exchange, f"bench.{TYPE}", BODY, properties, mandatory=True)
            sent += batch

        def confirmed(frame: Any) -> None:
            nonlocal oldest
            tag = frame.method.delivery_tag
            waiting.difference_update(range(oldest, tag + 1) if frame.method.multiple else (tag,))
            oldest = tag + 1 if frame.method.multiple else oldest
            if waiting:
                return
            if sent >= PUBLISHED:
                done()
                return
            oldest = sent + 1
            waiting.update(range(sent + 1, sent + batch + 1))
            more()

        oldest = 1
        waiting = set(range(1, batch + 1))
        channel.confirm_delivery(confirmed, callback=lambda _: more())

    return PUBLISHED / raw(parameters, work)


def raw_consume(parameters: pika.ConnectionParameters, queue: str) -> float:
    """Return messages a second."""

    def work(channel: Any, done: Callable[[], None]) -> None:
        received = 0

        def receive(channel: Any, method: Any, *message: Any) -> None:
            del message
            nonlocal received
            received += 1
            channel.basic_ack(method.delivery_tag)
            if received == CONSUMED:
                done()

        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(queue, receive)

    return CONSUMED / raw(parameters, work)


def our_publish(url: str, batch: int) -> float:
    """Return messages a second, from a thread that waits for each batch."""
    with closing(build_broker(url, BrokerOptions(platform="bench", service="bench"))) as broker:
        broker.open(lambda: None)
        while not broker.connected:
            time.sleep(0.01)
        started = time.perf_counter()
        for first in range(0, PUBLISHED, batch):
            outcomes = broker.publish(
                [Outgoing(id=str(first + number), type=TYPE, body=BODY) for number in range(batch)]
            )
            assert not any(outcomes), outcomes
        return PUBLISHED / (time.perf_counter() - started)


def our_consume(url: str) -> float:
    """Return messages a second; the backlog is there before the consumer comes."""
    received, times, done = 0, [0.0], Event()

    def receive(incoming: Incoming) -> None:
        nonlocal received
        if not received:
            times[0] = time.perf_counter()
        received += 1
        incoming.acknowledge()
        if received == CONSUMED:
            times.append(time.perf_counter())
            done.set()

    with closing(build_broker(url, BrokerOptions(platform="bench", service="bench", prefetch=PREFETCH))) as broker:
        broker.consume([Binding(subscription="a", pattern=TYPE)], receive)
        broker.open(lambda: None)
        assert done.wait(30)
        broker.stop_consuming()
    return CONSUMED / (times[1] - times[0])


def declare(parameters: pika.ConnectionParameters, name: str, *, archive: bool) -> None:
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.exchange_declare(name, "topic", durable=True)
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(name, name, f"*.{TYPE}")
    if archive:
        channel.queue_declare(f"{name}.archive", durable=True, arguments={"x-queue-type": "stream"})
        channel.queue_bind(f"{name}.archive", name, "#")
    connection.close()


def measure(server: RabbitMq, until: float) -> dict[str, list[float]]:
    parameters = pika.URLParameters(server.url())
    declare(parameters, "raw", archive=False)
    declare(parameters, "archived", archive=True)
    with closing(build_broker(server.url(), BrokerOptions(platform="bench", service="bench"))) as broker:
        broker.consume([Binding(subscription="a", pattern=TYPE)], lambda incoming: incoming.release(0))
        broker.open(lambda: None)
        while not broker.connected:
            time.sleep(0.01)
        broker.stop_consuming()
    figures: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for batch in (100, 1000):
            figures[f"pika publish {batch}"].append(raw_publish(parameters, "raw", batch))
            figures[f"pika with archive publish {batch}"].append(raw_publish(parameters, "archived", batch))
            figures[f"bandstand publish {batch}"].append(our_publish(server.url(), batch))
        figures["pika consume"].append(raw_consume(parameters, "raw"))
        figures["bandstand consume"].append(our_consume(server.url()))
        if time.monotonic() > until:
            break
    return figures


def main() -> None:
    settings.configure()
    if not has_rabbitmq():
        print("RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server")
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, closing(RabbitMq(Path(folder))) as server:
        server.start()
        figures = measure(server, began + BUDGET * 0.66)
    print(f"{platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, messages a second")
    for name, values in figures.items():
        kind = name.partition("publish" if "publish" in name else "consume")[2]
        base = f"pika {'publish' if 'publish' in name else 'consume'}{kind}"
        value, ratio = statistics.median(values), statistics.median(values) / statistics.median(figures[base])
        verdict = "" if not name.startswith("bandstand") else "   " + ("reached" if ratio >= TARGET else f"< {TARGET}")
        print(f"  {name:<32} {value:>9,.0f}   {ratio:4.2f} of pika alone{verdict}")
        print(
            json.dumps({"name": name, "value": round(value), "unit": "1/s", "ratio_to": base, "ratio": round(ratio, 3)})
        )


if __name__ == "__main__":
    main()
