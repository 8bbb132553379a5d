"""One PostgreSQL and one NATS for all tests here; each test has a database, a platform and workers of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.integration.servers import Nats, Postgres, has_servers, tied

ROOT = Path(__file__).parents[3]
SETTINGS = "tests.integration.events.settings"
TABLES = """
CREATE TABLE effect (
    id bigserial PRIMARY KEY, subscription text, message_id text, number int, key text, correlation_id text,
    lag float, at timestamptz DEFAULT clock_timestamp()
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
    server = Postgres()
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
        yield server


class Rig:
    """A ledger service of one test: its database, its platform, its workers."""

    def __init__(self, postgres: Postgres, nats: Nats, template: str) -> None:
        self.postgres = postgres
        self.nats = nats
        self.platform = f"p{uuid4().hex[:10]}"
        self.broker_url = nats.url()
        postgres.execute(f"CREATE DATABASE {self.platform} TEMPLATE {template}")
        self.workers: list[subprocess.Popen[str]] = []
        self.log = postgres.folder / f"{self.platform}.log"

    def environment(self, events: dict[str, Any], failpoints: str, **more: str) -> dict[str, str]:
        quick = {"LEASE": 1.5, "POLL_INTERVAL": 0.25, "RETRY_DELAYS": [0, 0.2, 0.4], **events}
        variables = {
            "DATABASE_URL": self.postgres.url(self.platform),
            "BROKER_URL": self.broker_url,
            "LEDGER_PLATFORM": self.platform,
            "LEDGER_EVENTS": json.dumps(quick),
            **({"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": failpoints} if failpoints else {}),
            **more,
        }
        return {**os.environ, **variables}

    def worker(
        self, *arguments: str, failpoints: str = "", events: dict[str, Any] | None = None, **more: str
    ) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "django", "worker", "--settings", SETTINGS, *arguments]
        with self.log.open("a") as log:
            process = subprocess.Popen(
                tied(command),
                cwd=ROOT,
                env=self.environment(events or {}, failpoints, **more),
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.workers.append(process)
        return process

    def command(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "django", *arguments, "--settings", SETTINGS]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment({}, ""), capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        return self.postgres.execute(statement, self.platform, parameters)

    def count(self, statement: str, *parameters: Any) -> int:
        return int(self.query(f"SELECT count(*) FROM {statement}", *parameters)[0][0])

    def connect(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self.postgres.url(self.platform))

    def unsent(self) -> int:
        return self.count("bandstand_outbox WHERE sent_at IS NULL")

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait until ``condition`` holds; return how many seconds it took."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > seconds:
                log = self.log.read_text()[-6000:] if self.log.exists() else ""
                raise AssertionError(f"After {seconds} s still not: {what}\n{log}")
            time.sleep(0.02)
        return time.monotonic() - started

    def stop(self, process: "subprocess.Popen[str]", number: int = signal.SIGTERM, timeout: float = 30) -> int:
        process.send_signal(number)
        return process.wait(timeout)

    def close(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.postgres.execute(f"DROP DATABASE {self.platform} WITH (FORCE)")


@pytest.fixture
def rig(postgres: Postgres, nats: Nats, template: str) -> Iterator[Rig]:
    made = Rig(postgres, nats, template)
    with contextlib.closing(made):
        yield made
