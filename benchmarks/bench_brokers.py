"""The cost of the RabbitMQ broker beside pika alone: publishing with confirms, and consuming with acknowledgements.

Both talk to one private RabbitMQ: persistent messages of 500 bytes, mandatory, to a quorum queue. Ours is called as the
relay calls it, by two threads that each wait for their batch; pika runs alone on its loop, with as many messages in
flight in a sliding window, and acknowledges in groups. Ours also feeds the archive of the platform; a third line shows
pika with such an archive, since that is what the server then has to do. Rounds take turns. Processor time is that of
this process, so of the client. Takes about a minute.
"""

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pika
from django.conf import settings

import pika_client
from bandstand.events.brokers import Binding, BrokerOptions, Incoming, Outgoing, build_broker
from bandstand.topology import declare as declare_topology
from event_rig import has_rabbitmq
from report import Cost, Report, at_least, parser, reading
from tests.integration.optional.servers import RabbitMq

BODY = b"x" * 500
ROUNDS = 5
MESSAGES = 4_000
BATCHES = (100, 1_000)
PREFETCH = 64
THREADS = 2  # of the relay
TARGET = at_least(0.75)  # of pika alone
TYPE = "order.placed"


def our_publish(url: str, count: int, batch: int) -> Cost:
    """Publish from two threads, each of which waits for its batch."""
    with closing(build_broker(url, BrokerOptions(platform="bench", service="bench"))) as broker:
        broker.open(lambda: None)
        while not broker.connected:
            time.sleep(0.01)

        def send(first: int) -> None:
            messages = [Outgoing(id=str(number), type=TYPE, body=BODY) for number in range(first, first + batch)]
            outcomes = broker.publish(messages)
            assert not any(outcomes), outcomes

        with ThreadPoolExecutor(THREADS) as threads:
            begun = reading()
            list(threads.map(send, range(0, count, batch)))
            return reading() - begun


def pika_publish(url: str, exchange: str, count: int, batch: int) -> Cost:
    """Publish with pika alone, with as many messages in flight."""
    messages = [(str(number), BODY) for number in range(count)]
    return pika_client.publish(url, exchange, f"bench.{TYPE}", messages, THREADS * batch)


def our_consume(url: str, count: int) -> Cost:
    """Consume; the backlog is there before the consumer comes."""
    received, readings, done = 0, [], Event()

    def receive(incoming: Incoming) -> None:
        nonlocal received
        if not received:
            readings.append(reading())
        received += 1
        incoming.acknowledge()
        if received == count:
            readings.append(reading())
            done.set()

    with closing(build_broker(url, BrokerOptions(platform="bench", service="bench", prefetch=PREFETCH))) as broker:
        broker.consume([Binding(subscription="a", pattern=TYPE)], receive)
        broker.open(lambda: None)
        assert done.wait(60)
        broker.stop_consuming()
    return readings[1] - readings[0]


def declare(url: str, name: str, *, archive: bool) -> None:
    """Make an exchange with a quorum queue, and with an archive as ours has."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "topic", durable=True)
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(name, name, f"*.{TYPE}")
        if archive:
            channel.queue_declare(f"{name}.archive", durable=True, arguments={"x-queue-type": "stream"})
            channel.queue_bind(f"{name}.archive", name, "#")


def declare_all(url: str) -> None:
    """Make what is published to, ours too."""
    declare(url, "raw", archive=False)
    declare(url, "archived", archive=True)
    asyncio.run(declare_topology(url, "bench", ["bench"]))
    with closing(build_broker(url, BrokerOptions(platform="bench", service="bench"))) as broker:
        broker.consume([Binding(subscription="a", pattern=TYPE)], lambda incoming: incoming.release(0))
        broker.open(lambda: None)
        while not broker.connected:
            time.sleep(0.01)
        broker.stop_consuming()


def ways(url: str, count: int, batches: tuple[int, ...]) -> dict[str, dict[str, Callable[[], Cost]]]:
    """Return each kind of work with the ways to do it; pika alone is the first."""
    publish = {
        f"publish_{batch}": {
            "pika": lambda batch=batch: pika_publish(url, "raw", count, batch),
            "pika_with_archive": lambda batch=batch: pika_publish(url, "archived", count, batch),
            "bandstand": lambda batch=batch: our_publish(url, count, batch),
        }
        for batch in batches
    }
    consume = {
        "pika": lambda: pika_client.consume(url, "raw", count, PREFETCH),
        "bandstand": lambda: our_consume(url, count),
    }
    return {**publish, "consume": consume}


@dataclass
class Rates:
    """Messages a second of each round, and seconds of processor time for one."""

    rates: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, cost: Cost, count: int) -> None:
        """Add a round."""
        self.rates.append(count / cost.seconds)
        self.processor.append(cost.processor / count)


def add(report: Report, kind: str, found: dict[str, Rates]) -> None:
    """Report one kind of work."""
    base = found["pika"].rates
    for name, way in found.items():
        beside = None if name == "pika" else ("pika alone", base)
        processor = statistics.median(way.processor)
        report.add(f"rabbitmq.{kind}.{name}", way.rates, "1/s", processor=processor, to=beside)
    ours = found["bandstand"].rates
    for name in [each for each in found if each != "bandstand"]:
        shares = [rate / other for rate, other in zip(ours, found[name].rates, strict=True)]
        target = TARGET if name == "pika" else None
        report.add(f"rabbitmq.{kind}.share_of_{name}", shares, f"of {name}", target=target, note="(rounds in pairs)")


def measure(report: Report, url: str) -> None:
    """Measure all ways in turns, and report them."""
    declare_all(url)
    count, rounds, batches = (200, 1, (20, 100)) if report.quick else (MESSAGES, ROUNDS, BATCHES)
    found: dict[str, dict[str, Rates]] = defaultdict(lambda: defaultdict(Rates))
    for _ in range(rounds):
        for kind, each in ways(url, count, batches).items():
            for name, way in each.items():
                found[kind][name].add(way(), count)
    for kind, rates in found.items():
        add(report, kind, rates)


def main() -> None:
    """Measure and report."""
    settings.configure()
    report = Report(parser(__doc__).parse_args())
    if has_rabbitmq():
        with tempfile.TemporaryDirectory() as folder, closing(RabbitMq(Path(folder))) as server:
            server.start()
            measure(report, server.url())
    else:
        report.leave_out("rabbitmq: it is not installed; on Debian: apt-get install rabbitmq-server")
    report.end()


if __name__ == "__main__":
    main()
