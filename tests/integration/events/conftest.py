"""One PostgreSQL and one NATS for all tests here; each test has a database, a platform and workers of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import pytest
from django.db import connections, transaction
from django.test import override_settings
from nats.js.errors import NotFoundError

from bandstand.events import publish
from bandstand.topology.nats import inbound_stream, published_stream
from tests.integration.events.databases import database_settings
from tests.integration.events.ledger.shapes import Counted
from tests.integration.events.rabbit import Rabbit
from tests.integration.servers import Nats, Postgres, has_servers, tied
from tests.waiting import GUARD, until

SERVICE = "ledger-service"
ROOT = Path(__file__).parents[3]
SETTINGS = "tests.integration.events.settings"
TABLES = """
CREATE TABLE written (number int PRIMARY KEY);
CREATE TABLE effect (
    id bigserial PRIMARY KEY, subscription text, message_id text, number int, key text,
    correlation_id text, causation_id text, at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE attempt (
    id bigserial PRIMARY KEY, subscription text, message_id text, at timestamptz DEFAULT clock_timestamp()
);
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    has_servers()
    server = Postgres(fsync=False)
    with contextlib.closing(server):
        server.start()
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """A database with all tables, from which each test copies its own."""
    postgres.execute("CREATE DATABASE template_ledger")
    environment = {"DATABASE_URL": postgres.url("template_ledger"), "LEDGER_PLATFORM": "x", "BROKER_URL": "memory://"}
    command = [sys.executable, "-m", "django", "migrate", "--settings", SETTINGS, "-v", "0"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=True)
    postgres.execute(TABLES, "template_ledger")
    return "template_ledger"


@pytest.fixture(scope="session")
def nats() -> Iterator[Nats]:
    has_servers()
    server = Nats()
    with contextlib.closing(server):
        server.start()
        server.declare("shop", "order-service")  # of the tests of the broker alone
        yield server


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    server = Rabbit(tmp_path_factory.mktemp("rabbit"))
    with contextlib.closing(server):
        server.start()
        yield server


@pytest.fixture
def running(rabbit: Rabbit) -> Iterator[Rabbit]:
    """The RabbitMQ of all tests, for one that stops it: afterwards it runs again."""
    yield rabbit
    assert rabbit.process is not None
    rabbit.process.send_signal(signal.SIGCONT)
    if rabbit.process.poll() is not None:
        rabbit.start()


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What must be zero, for one subscription."""

    lost: int
    ghosts: int
    duplicates: int
    stuck: int


ZERO = Ledger(lost=0, ghosts=0, duplicates=0, stuck=0)
LEASE = 3.0
"""Seconds: as short as a busy machine can renew in time, since tests wait for it where a worker was killed."""
QUICK = {
    "LEASE": LEASE,
    "POLL_INTERVAL": 0.25,
    "RETRY_DELAYS": [0, 0.2, 0.4],
    "SHUTDOWN_TIMEOUT": 120,
    "HANDLER_TIMEOUT": 300,
}


class Database(Protocol):
    """A server of databases, or a folder of them."""

    folder: Path

    def url(self, database: str) -> str: ...

    def execute(self, statement: str, database: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

    def copy(self, template: str, name: str) -> None: ...

    def drop(self, name: str) -> None: ...


class Rig:
    """A ledger service of one test: its database, its platform, its workers."""

    def __init__(self, server: Database, nats: Nats, template: str, *, engine: str = "") -> None:
        self.server = server
        self.nats = nats
        self.platform = f"p{uuid4().hex[:10]}"
        self.workers: list[subprocess.Popen[str]] = []
        self.log = server.folder / f"{self.platform}.log"
        server.copy(template, self.platform)
        nats.declare(self.platform, SERVICE)
        database = database_settings(server.url(self.platform))
        database["ENGINE"] = engine or database["ENGINE"]
        database["OPTIONS"] = {name: value for name, value in database.get("OPTIONS", {}).items() if name != "pool"}
        connections.settings[self.platform] = connections.configure_settings({"default": database})["default"]
        events = {**QUICK, "DATABASE": self.platform, "BROKER_URL": nats.url()}
        self._settings = override_settings(
            BANDSTAND={"SERVICE": "ledger-service", "PLATFORM": self.platform, "EVENTS": events}
        )
        self._settings.enable()

    def close(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._settings.disable()
        connections[self.platform].close()
        del connections[self.platform], connections.settings[self.platform]
        self.server.drop(self.platform)

    # --- what the service does ------------------------------------------------------------------
    def write(self, number: int, *, key: str | None = None, do: str = "") -> str:
        """Do what a request does: write a row and publish an event, in one transaction."""
        with transaction.atomic(using=self.platform):
            with connections[self.platform].cursor() as cursor:
                cursor.execute("INSERT INTO written VALUES (%s)", [number])
            return publish(Counted(number=number, do=do), key=str(number % 10) if key is None else key)

    def write_many(self, count: int, start: int = 0) -> None:
        for number in range(start, start + count):
            self.write(number)

    def environment(self, events: dict[str, Any], failpoints: str, more: dict[str, str]) -> dict[str, str]:
        variables = {
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "DATABASE_URL": self.server.url(self.platform),
            "LEDGER_ATTEMPTS": str(self.server.folder / f"{self.platform}.attempts"),
            "BROKER_URL": self.nats.url(),
            "LEDGER_PLATFORM": self.platform,
            "LEDGER_EVENTS": json.dumps({**QUICK, **events}),
            **({"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": failpoints} if failpoints else {}),
            **more,
        }
        return {**os.environ, **variables}

    def worker(
        self, *arguments: str, failpoints: str = "", events: dict[str, Any] | None = None, **more: str
    ) -> "subprocess.Popen[str]":
        """Start `manage.py worker` as a process of its own."""
        return self.run("django", "worker", *arguments, failpoints=failpoints, events=events, **more)

    def run(
        self, module: str, *arguments: str, failpoints: str = "", events: dict[str, Any] | None = None, **more: str
    ) -> "subprocess.Popen[str]":
        """Start a module as a process of the service."""
        command = [sys.executable, "-m", module, *arguments]
        environment = self.environment(events or {}, failpoints, more)
        with self.log.open("a") as log:
            process = subprocess.Popen(
                tied(command), cwd=ROOT, env=environment, stdout=log, stderr=log, text=True, start_new_session=True
            )
        self.workers.append(process)
        return process

    def ready_worker(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a worker and wait until it says that it is ready."""
        ready = self.server.folder / f"{self.platform}-{len(self.workers)}.ready"
        process = self.worker(*arguments, BANDSTAND_READY_FILE=str(ready), **options)
        self.until(ready.exists, "the worker is ready")
        return process

    def stop(self, process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> int:
        process.send_signal(number)
        return process.wait(GUARD)

    def command(self, *arguments: str, **more: str) -> str:
        command = [sys.executable, "-m", "django", *arguments]
        environment = self.environment({}, "", more)
        return subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        ).stdout

    # --- what came of it -------------------------------------------------------------------------
    def query(self, statement: str, *parameters: Any) -> list[Any]:
        return self.server.execute(statement, self.platform, parameters)

    def count(self, what: str, *parameters: Any) -> int:
        return int(self.query(f"SELECT count(*) FROM {what}", *parameters)[0][0])

    def effects(self, subscription: str = "counted") -> list[int]:
        rows = self.query("SELECT number FROM effect WHERE subscription = %s ORDER BY id", subscription)
        return [row[0] for row in rows]

    def settled(self, *numbers: int) -> bool:
        """Nothing is on its way: all sent, nothing waits, and ``numbers`` (or all written) have had their effects."""
        return self.done(*numbers) and not self.stuck()

    def stuck(self) -> int:
        """How many events are not known to be sent, or wait."""
        return self.count("bandstand_outbox WHERE sent_at IS NULL") + self.count("bandstand_delivery")

    def at_rest(self, *subscriptions: str) -> bool:
        """Settled, and the broker has no copy left to bring: what would be repeated was."""
        return self.settled() and not self.to_come(*subscriptions)

    def to_come(self, *subscriptions: str) -> int:
        """How many messages the broker still has to bring, or to hear of."""

        async def left(stream: Any, name: str) -> int:
            found = [await stream.consumer_info(name, f"ledger-service__{each}") for each in subscriptions]
            not_copied = await uncopied(stream, published_stream(self.platform), name)
            return not_copied + sum(each.num_pending + each.num_ack_pending for each in found)

        return int(self.inbound(left))

    def gate(self) -> Path:
        """A file that is not there yet: a handler told to ``wait`` for it goes on once the test makes it."""
        return self.server.folder / f"{self.platform}-{uuid4().hex[:8]}.gate"

    def done(self, *numbers: int) -> bool:
        """All ``numbers`` (or all that were written) have had their effects in both subscriptions."""
        wanted = set(numbers) or {row[0] for row in self.query("SELECT number FROM written")}
        return all(wanted <= set(self.effects(each)) for each in ("counted", "watcher"))

    def ledger(self, subscription: str = "counted", numbers: Collection[int] = ()) -> Ledger:
        """Compare what was committed with its effects: for ``numbers``, or for all."""
        written = {row[0] for row in self.query("SELECT number FROM written")}
        effects = self.effects(subscription)
        if numbers:
            written, effects = written & set(numbers), [number for number in effects if number in numbers]
        return Ledger(
            lost=len(written - set(effects)),
            ghosts=len(set(effects) - written),
            duplicates=len(effects) - len(set(effects)),
            stuck=self.stuck(),
        )

    def repeats(self, *subscriptions: str) -> bool:
        """Some event has had its effect more than once."""
        return any(self.ledger(each).duplicates for each in subscriptions)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until ``condition`` holds; a failure shows the end of the workers' log."""
        until(condition, what, evidence=lambda: self.log.read_text()[-5000:] if self.log.exists() else "")

    def stream(self, work: Callable[[Any, str], Any]) -> Any:
        """Run ``work(jetstream, stream name)`` as the administrator."""
        return self.nats.jetstream(lambda context: work(context, published_stream(self.platform)))

    def inbound(self, work: Callable[[Any, str], Any]) -> Any:
        """The same with the name of the stream where the service's consumers are."""
        return self.nats.jetstream(lambda context: work(context, inbound_stream(self.platform, SERVICE)))


async def uncopied(stream: Any, shared: str, inbound: str) -> int:
    """Return the number of messages that the server has not copied yet from the shared stream to a service's own."""
    published = (await stream.stream_info(shared)).state.last_seq
    if not published:
        return 0
    try:
        last = await stream.get_last_msg(inbound, ">")
    except NotFoundError:
        return int(published)
    return int(published) - int((last.headers or {})["Nats-Stream-Source"].split()[1])


@pytest.fixture
def rig(
    postgres: Postgres, nats: Nats, template: str, django_db_blocker: Any, request: pytest.FixtureRequest
) -> Iterator[Rig]:
    """Its own connections have our backend, or the one that the test is parametrized with."""
    with django_db_blocker.unblock():
        made = Rig(postgres, nats, template, engine=getattr(request, "param", "bandstand.postgresql"))
        with contextlib.closing(made):
            yield made


@pytest.fixture(scope="module")
def service(postgres: Postgres, nats: Nats, template: str, django_db_blocker: Any) -> Iterator[Rig]:
    """A service with a worker that runs for all tests of a module that only look."""
    with django_db_blocker.unblock():
        made = Rig(postgres, nats, template)
        with contextlib.closing(made):
            made.ready_worker()
            yield made
