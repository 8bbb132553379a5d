"""The cost of an event with other libraries, beside Bandstand, in one run: a confirmed publication, and an outbox row.

Events of a usual size (0.9 kB), persistent, to one quorum queue of RabbitMQ and to one JetStream stream, each on real
servers with PostgreSQL (fsync on). The ceiling is the broker's bare client with 500 messages in flight in a sliding
window and no database. Bandstand is its relay: from rows of the outbox through the broker to rows marked as sent, with
as many in flight; on RabbitMQ what it sends goes into an archive as well, so it has a bare client of its own.

Each peer has its best form. FastStream sends from as many coroutines as the bare client has messages in flight. Celery
and Nameko wait for the confirmation of each message, as their API has it, so they send from 8 threads, with connections
of their pools. The same is shown one after the other, which is what one request meets. django-jaiminho's relay calls a
function for each row, here a publication confirmed by pika, and goes on with the next when it has returned. The cost of
an outbox row is that of a transaction with one INSERT, with the event and without it, in turns. Processor time is the
sender's.

Each peer runs in an environment of its own below the user's cache, made from ``peers/<peer>.txt`` at the first run, so
nothing of them is installed beside Bandstand; ``--quick`` makes none. What does not install or run is left out, with
its last words. Takes about two minutes, and at the first run the installation too.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from hashlib import sha256
from pathlib import Path
from typing import Any

import pika
from nats.js.api import StorageType, StreamConfig

import pika_client
from bandstand.topology import declare as declare_topology
from bench_relay import SHARE, Bare, bare_nats, bare_rabbitmq, relay_rate
from event_rig import HERE, envelopes, has_rabbitmq, order_placed, service, started, window, worker
from peers.exchange import THREADS, Figure, measure_rows
from report import Report, parser, processor_seconds
from tests.integration.optional.servers import RabbitMq
from tests.integration.servers import Nats, Postgres

EVENTS = 1_000
BATCH_ROWS = 3_000  # for the relay and the bare client
QUICK_EVENTS = 60
ROUNDS = 5
FOLDER = HERE / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bandstand-benchmarks"
PATIENCE = 180.0

Names = dict[str, tuple[str, str]]


class PeerFailed(Exception):
    """A peer did not install or run; the text is what it said last."""


class Peer:
    """Another library, in its own environment: ``name.py`` measures, ``name.txt`` says what to install.

    ``rabbitmq`` and ``nats`` say what to call its figures there, by the keys of its answer, and how it sends.
    """

    def __init__(self, name: str, *, rabbitmq: Names | None = None, nats: Names | None = None) -> None:
        self.name = name
        self.rabbitmq = rabbitmq or {}
        self.nats = nats or {}
        requirements = (FOLDER / f"{name}.txt").read_bytes()
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        self._environment = CACHE / f"{name}-{version}-{sha256(requirements).hexdigest()[:12]}"

    @property
    def installed(self) -> bool:
        """Whether an earlier run has made its environment."""
        return (self._environment / "installed").exists()

    def run(self, given: dict[str, Any]) -> dict[str, Figure]:
        """Return what the peer measured.

        Raises:
            PeerFailed: it could not.
        """
        self._install()
        said = self._python(FOLDER / f"{self.name}_sends.py", text=json.dumps(given))
        found: dict[str, Figure] = json.loads(said.strip().splitlines()[-1])
        return found

    def _install(self) -> None:
        if self.installed:
            return
        venv.create(self._environment, with_pip=True, clear=True)
        self._python("-m", "pip", "install", "-q", "--no-deps", "-r", FOLDER / f"{self.name}.txt")
        (self._environment / "installed").touch()

    def _python(self, *arguments: object, text: str = "") -> str:
        command = [str(each) for each in (self._environment / "bin" / "python", *arguments)]
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        try:
            return subprocess.run(
                command, input=text, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE
            ).stdout
        except subprocess.CalledProcessError as error:
            raise PeerFailed((error.stderr.strip().splitlines() or ["it said nothing"])[-1]) from error
        except subprocess.TimeoutExpired as error:
            raise PeerFailed(f"it took more than {PATIENCE:.0f} s") from error


ONE, THREADED, MANY = "(one after the other)", f"({THREADS} threads)", "(as many in flight as the bare client)"
PEERS = (
    Peer("celery", rabbitmq={"rabbitmq_one": ("celery_one", ONE), "rabbitmq_many": ("celery_many", THREADED)}),
    Peer("nameko", rabbitmq={"rabbitmq_one": ("nameko_one", ONE), "rabbitmq_many": ("nameko_many", THREADED)}),
    Peer(
        "faststream",
        rabbitmq={"rabbitmq_one": ("faststream_one", ONE), "rabbitmq_many": ("faststream_many", MANY)},
        nats={"nats_one": ("faststream_one", ONE), "nats_many": ("faststream_many", MANY)},
    ),
    Peer("django_jaiminho", rabbitmq={"rabbitmq": ("django_jaiminho_relay", "(from its outbox, one by one)")}),
    Peer("django_outbox_pattern"),
)


def declare(rabbitmq_url: str, nats: Nats) -> None:
    """Make what is published to: a quorum queue that gets everything, and a stream in a file."""
    asyncio.run(declare_topology(rabbitmq_url, "bench", ["order-service"]))
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("peers.all", durable=True, arguments={"x-queue-type": "quorum"})
        for exchange in ("peers.events", "peers.nameko.events"):
            channel.exchange_declare(exchange, "topic", durable=True)
            channel.queue_bind("peers.all", exchange, "#")
        channel.queue_bind("peers.all", "bench.events", "#")  # all that the relay publishes; it is archived as well

    async def stream(jetstream: Any) -> None:
        await jetstream.add_stream(StreamConfig(name="peers", subjects=["peers.>"], storage=StorageType.FILE))

    nats.jetstream(stream)
    nats.declare("bench", "order-service")


class Ceiling:
    """A bare client. It is measured again beside each figure, since the machine has other work too."""

    def __init__(self, bare: Bare, count: int) -> None:
        self._bare, self._count = bare, count
        self.rates: list[float] = []
        self.processor: list[float] = []

    def rate(self) -> float:
        """Return the events a second of the bare client, now."""
        cost = self._bare(envelopes(self._count))
        self.rates.append(self._count / cost.seconds)
        self.processor.append(cost.processor / self._count)
        return self.rates[-1]

    def report(self, report: Report, name: str) -> None:
        """Add its row."""
        processor = statistics.median(self.processor)
        note = f"({window()} in flight)"
        report.add(f"events.peers.{name}.bare_client", self.rates, "events/s", processor=processor, note=note)


def measure_relay(report: Report, ceiling: Ceiling, postgres: Postgres, *, broker: str, url: str) -> None:
    """Measure the relay and the bare client in turns."""
    count, rounds = (QUICK_EVENTS, 1) if report.quick else (BATCH_ROWS, ROUNDS)
    with worker("--only", "relay", broker_url=url) as process:
        relay_rate(postgres, min(500, count))
        rates, beside, used = [], [], 0.0
        for _ in range(rounds):
            before = processor_seconds(process.pid)
            rates.append(relay_rate(postgres, count))
            used += processor_seconds(process.pid) - before
            beside.append(ceiling.rate())
    report.add(
        f"events.peers.{broker}.bandstand_relay",
        rates,
        "events/s",
        processor=used / (rounds * count),
        to=("the bare client", beside),
        note="(from the outbox)",
    )
    shares = [rate / bare for rate, bare in zip(rates, beside, strict=True)]
    report.add(
        f"events.peers.{broker}.bandstand_relay.share", shares, "of bare", target=SHARE, note="(rounds in pairs)"
    )


def measure_publish(count: int) -> dict[str, Figure]:
    """Return what publish() adds to a transaction with one row."""
    from bandstand.context import bind, new_context
    from bandstand.events import publish

    with bind(new_context()):
        return measure_rows([{}] * count, lambda _: publish(order_placed(1), key="1"))


def add_row(report: Report, name: str, found: dict[str, Figure]) -> None:
    """Report the cost of an outbox row."""
    plain, published = ([1000 * seconds for seconds in found[way]["seconds"]] for way in ("plain", "published"))
    added = 1000 * (statistics.median(published) - statistics.median(plain))
    processor = statistics.median(found["published"]["processor"])
    report.add(
        f"events.peers.row.{name}",
        published,
        "ms",
        processor=processor,
        to=("the same transaction", plain),
        note=f"({added:,.0f} µs more)",
    )


def measure_peer(report: Report, ceilings: dict[str, Ceiling], peer: Peer, given: dict[str, Any]) -> None:
    """Run a peer and report its figures; the bare clients are measured before and after."""
    sends = {"rabbitmq": peer.rabbitmq, "nats": peer.nats}
    before = {broker: ceilings[broker].rate() for broker, names in sends.items() if names}
    found = peer.run(given)
    for broker, first in before.items():
        beside = [first, ceilings[broker].rate()]
        for key, (name, note) in sends[broker].items():
            report.add(
                f"events.peers.{broker}.{name}",
                [1 / seconds for seconds in found[key]["seconds"]],
                "events/s",
                processor=statistics.median(found[key]["processor"]),
                to=("the bare client", beside),
                note=note,
            )
    if "published" in found:
        add_row(report, peer.name, found)


def measure_peers(report: Report, ceilings: dict[str, Ceiling], given: dict[str, Any]) -> None:
    """Run each peer; one that can't is left out."""
    for peer in PEERS:
        if report.quick and not peer.installed:
            report.leave_out(f"{peer.name}: a run without --quick installs it")
            continue
        try:
            measure_peer(report, ceilings, peer, given)
        except PeerFailed as error:
            report.leave_out(f"{peer.name}: {error}")


def measure(report: Report, nats: Nats, rabbitmq_url: str, postgres: Postgres) -> None:
    """Measure Bandstand, then the peers."""
    count = QUICK_EVENTS if report.quick else BATCH_ROWS
    with_archive = Ceiling(bare_rabbitmq(rabbitmq_url), count)
    ceilings = {
        "rabbitmq": Ceiling(
            lambda messages: pika_client.publish(rabbitmq_url, "peers.events", "order.placed", messages, window()),
            count,
        ),
        "nats": Ceiling(bare_nats(nats.url()), count),
    }
    postgres.execute("CREATE TABLE peers_order (id bigserial PRIMARY KEY, name text)")
    declare(rabbitmq_url, nats)
    measure_relay(report, with_archive, postgres, broker="rabbitmq", url=rabbitmq_url)
    measure_relay(report, ceilings["nats"], postgres, broker="nats", url=nats.url())
    add_row(report, "bandstand", measure_publish(QUICK_EVENTS if report.quick else EVENTS))
    events = [json.loads(body) for _, body in envelopes(QUICK_EVENTS if report.quick else EVENTS)]
    measure_peers(
        report,
        ceilings,
        {
            "broker": rabbitmq_url,
            "nats": nats.url(),
            "database": postgres.url(),
            "events": events,
            "rounds": 1 if report.quick else ROUNDS,
            "in_flight": window(),
        },
    )
    for name, ceiling in {"rabbitmq_with_archive": with_archive, **ceilings}.items():
        if ceiling.rates:
            ceiling.report(report, name)


def main() -> None:
    """Measure and report."""
    report = Report(parser(__doc__).parse_args())
    if has_rabbitmq():
        with (
            tempfile.TemporaryDirectory() as folder,
            started(Nats()) as nats,
            started(RabbitMq(Path(folder))) as rabbitmq,
            service() as postgres,
        ):
            measure(report, nats, rabbitmq.url(), postgres)
    else:
        report.leave_out("all: RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server")
    report.end()


if __name__ == "__main__":
    main()
