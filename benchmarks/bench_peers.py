"""What others do with an event, beside Bandstand, in one run: a publication confirmed by the broker, and an outbox row.

Events of a usual size (0.9 kB), persistent, to one quorum queue of RabbitMQ and to one JetStream stream, each on real
servers with PostgreSQL (fsync on). The ceiling is the broker's bare client with 250 messages in flight and no database.
Bandstand is its relay: from rows of the outbox through the broker to rows marked as sent. Celery and Nameko confirm one
message before the next, as their API has it; FastStream does it both ways; django-jaiminho's relay calls a function for
each row, here a publication confirmed by pika. The cost of an outbox row is that of a transaction with one INSERT, with
the event and without it, in turns.

Each peer runs in an environment of its own below the user's cache, made from ``peers/<peer>.txt`` at the first run, so
nothing of them is installed beside Bandstand. What does not install or run is told with its last words and left out.
Takes about a minute and a half, and at the first run the installation too.
"""

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

from bench_relay import Bare, bare_nats, bare_rabbitmq, relay_rate
from event_rig import HERE, Report, envelopes, order_placed, service, started, worker
from peers.exchange import measure_rows
from tests.integration.optional.servers import RabbitMq, has_rabbitmq
from tests.integration.servers import Nats, Postgres

EVENTS = 1_000
BATCH_ROWS = 3_000  # for what sends in batches
ROUNDS = 3
FOLDER = HERE / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bandstand-benchmarks"
PATIENCE = 120.0

Figures = dict[str, tuple[str, str]]


class PeerFailed(Exception):
    """A peer did not install or run; the text is what it said last."""


class Peer:
    """Another library, in its own environment: ``name.py`` measures, ``name.txt`` says what to install.

    ``rabbitmq`` and ``nats`` say what to call its figures there, by the keys of its answer, and how it sends.
    """

    def __init__(self, name: str, *, rabbitmq: Figures | None = None, nats: Figures | None = None) -> None:
        self.name = name
        self.rabbitmq = rabbitmq or {}
        self.nats = nats or {}
        requirements = (FOLDER / f"{name}.txt").read_bytes()
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        self._environment = CACHE / f"{name}-{version}-{sha256(requirements).hexdigest()[:12]}"

    def run(self, given: dict[str, Any]) -> dict[str, float]:
        """Return what the peer measured, in seconds for one event.

        Raises:
            PeerFailed: it could not.
        """
        self._install()
        said = self._python(FOLDER / f"{self.name}_sends.py", text=json.dumps(given))
        found: dict[str, float] = json.loads(said.strip().splitlines()[-1])
        return found

    def _install(self) -> None:
        done = self._environment / "installed"
        if done.exists():
            return
        venv.create(self._environment, with_pip=True, clear=True)
        self._python("-m", "pip", "install", "-q", "--no-deps", "-r", FOLDER / f"{self.name}.txt")
        done.touch()

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


ONE, MANY = "(one by one)", "(250 at once)"
PEERS = (
    Peer("celery", rabbitmq={"rabbitmq": ("celery", ONE)}),
    Peer("nameko", rabbitmq={"rabbitmq": ("nameko", ONE)}),
    Peer(
        "faststream",
        rabbitmq={"rabbitmq_one": ("faststream_one", ONE), "rabbitmq_many": ("faststream_many", MANY)},
        nats={"nats_one": ("faststream_one", ONE), "nats_many": ("faststream_many", MANY)},
    ),
    Peer("django_jaiminho", rabbitmq={"rabbitmq": ("django_jaiminho_relay", "(from its outbox)")}),
    Peer("django_outbox_pattern"),
)


def declare(rabbitmq_url: str, nats: Nats) -> None:
    """Make what is published to: a quorum queue that gets everything, and a stream in a file."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("peers.all", durable=True, arguments={"x-queue-type": "quorum"})
        for exchange in ("peers.events", "peers.nameko.events"):
            channel.exchange_declare(exchange, "topic", durable=True)
            channel.queue_bind("peers.all", exchange, "#")
        channel.queue_bind("peers.all", "bench.events", "#")  # the relay's, which has its archive as well

    async def stream(jetstream: Any) -> None:
        await jetstream.add_stream(StreamConfig(name="peers", subjects=["peers.>"], storage=StorageType.FILE))

    nats.jetstream(stream)


class Ceilings:
    """The bare clients. Each is measured again beside each figure, since the machine has other work too."""

    def __init__(self, report: Report, bare: dict[str, Bare]) -> None:
        self._report = report
        self._bare = bare

    def rate(self, broker: str) -> float:
        """Return the events a second of the bare client, now."""
        return BATCH_ROWS / self._bare[broker](envelopes(BATCH_ROWS))

    def add(self, broker: str, name: str, pairs: list[tuple[float, float]], note: str) -> None:
        """Report a rate; ``pairs`` are rates with those of the bare client just after them."""
        rate, ceiling = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        name = f"events.peers.{broker}.{name}"
        self._report.add(name, rate, "events/s", to=("the bare client", ceiling), note=f"{note} beside {ceiling:,.0f}")


def measure_relay(ceilings: Ceilings, postgres: Postgres, broker: str, url: str) -> None:
    """Let the relay and the bare client take turns."""
    with worker("--only", "relay", broker_url=url):
        relay_rate(postgres, 500)
        pairs = [(relay_rate(postgres, BATCH_ROWS), ceilings.rate(broker)) for _ in range(ROUNDS)]
    ceilings.add(broker, "bandstand_relay", pairs, "(from the outbox)")


def measure_publish() -> dict[str, float]:
    """What publish() adds to a transaction with one row."""
    from bandstand.context import bind, new_context
    from bandstand.events import publish

    with bind(new_context()):
        return measure_rows([{}] * EVENTS, lambda _: publish(order_placed(1), key="1"))


def add_row(report: Report, name: str, found: dict[str, float]) -> None:
    """Report the cost of an outbox row."""
    plain, published = 1000 * found["plain"], 1000 * found["published"]
    note = f"({1000 * (published - plain):,.0f} µs)"
    report.add(f"events.peers.row.{name}", published, "ms", to=("the same transaction", plain), note=note)


def measure_peers(report: Report, ceilings: Ceilings, given: dict[str, Any]) -> list[str]:
    """Let each peer run; return why some did not."""
    left_out: list[str] = []
    for peer in PEERS:
        try:
            found = peer.run(given)
        except PeerFailed as error:
            left_out.append(f"{peer.name}: {error}")
            continue
        for broker, names in (("rabbitmq", peer.rabbitmq), ("nats", peer.nats)):
            for key, (name, note) in names.items():
                ceilings.add(broker, name, [(1 / found[key], ceilings.rate(broker))], note)
        if "published" in found:
            add_row(report, peer.name, found)
    return left_out


def main() -> None:
    """Measure, print, and say the machine."""
    if not has_rabbitmq():
        sys.exit("RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server")
    report = Report()
    with (
        tempfile.TemporaryDirectory() as folder,
        started(Nats()) as nats,
        started(RabbitMq(Path(folder))) as rabbitmq,
        service() as postgres,
    ):
        url = rabbitmq.url()
        ceilings = Ceilings(report, {"rabbitmq": bare_rabbitmq(url), "nats": bare_nats(nats)})
        postgres.execute("CREATE TABLE peers_order (id bigserial PRIMARY KEY, name text)")
        with worker("--only", "relay", broker_url=url):
            declare(url, nats)
        measure_relay(ceilings, postgres, "rabbitmq", url)
        measure_relay(ceilings, postgres, "nats", nats.url())
        add_row(report, "bandstand", measure_publish())
        events = [json.loads(body) for _, body in envelopes(EVENTS)]
        given = {"broker": url, "nats": nats.url(), "database": postgres.url(), "events": events}
        for line in measure_peers(report, ceilings, given):
            print(f"left out: {line}")
    report.end()


if __name__ == "__main__":
    main()
