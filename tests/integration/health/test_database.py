import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.context.granian import ROOT, Granian, running
from tests.integration.postgresql.server import RestartablePostgres
from tests.waiting import GUARD, until

pytestmark = [pytest.mark.integration, pytest.mark.fault]

NEVER = 2 * GUARD  # seconds: HEALTH.TIMEOUT of a service whose probes end for another reason
TIMEOUT = 4.0  # of one whose probes it ends


@pytest.fixture
def postgres() -> Iterator[RestartablePostgres]:
    with RestartablePostgres() as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, postgres: RestartablePostgres, request: pytest.FixtureRequest) -> Iterator[Granian]:
    timeout = getattr(request, "param", NEVER)
    with running(tmp_path, DATABASE_URL=postgres.url, TIMEOUT=str(timeout)) as server:
        migrate(postgres)
        until(lambda: status(server) == "healthy", "the service to be healthy")
        yield server


def migrate(postgres: RestartablePostgres) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.integration.context.service", "migrate"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": postgres.url},
        check=True,
        capture_output=True,
    )


def ask(server: Granian, path: str) -> tuple[int, dict[str, Any]]:
    response = server.get(path)
    return response.status, json.loads(response.body)  # type: ignore[attr-defined]


def status(server: Granian) -> object:
    return ask(server, "/health/")[1]["status"]


def reasons(server: Granian) -> list[str]:
    return [line["message"] for line in server.lines("bandstand.health") if "database" in line["message"]]


def test_missing_migrations_are_not_ready(tmp_path: Path, postgres: RestartablePostgres) -> None:
    """A service that is newer than its database receives no requests, and is ready by itself once it is migrated."""
    with running(tmp_path, DATABASE_URL=postgres.url, TIMEOUT=str(NEVER)) as server:
        code, body = ask(server, "/health/ready/")
        assert (code, body["checks"]) == (503, {"database": "ok", "migrations": "failing"})
        [told] = [line["message"] for line in server.lines("bandstand.health") if "migrations" in line["message"]]
        assert "contenttypes.0001_initial" in told
        assert "Run manage.py migrate." in told
        migrate(postgres)
        until(lambda: ask(server, "/health/ready/")[0] == 200, "the service to be ready")


def test_a_database_that_dies_is_seen_and_seen_again(server: Granian, postgres: RestartablePostgres) -> None:
    """Killed, it makes the service unhealthy while the process lives on, and no probe waits for its time limit; back,
    healthy; told once each way.
    """
    postgres.kill()
    until(lambda: status(server) == "unhealthy", "the failure to be seen")
    for _ in range(5):
        code, body = ask(server, "/health/ready/")
        assert code == 503
        assert body == {"status": "not ready", "checks": {"database": "failing", "migrations": "ok"}}
        assert ask(server, "/health/live/")[0] == 200
    postgres.start()
    until(lambda: status(server) == "healthy", "the recovery to be seen")
    told = reasons(server)
    assert told[0].startswith("health check database fails: ")
    assert told[-1].startswith("health check database passes again after ")
    assert len(told) == len(set(told))
    assert postgres.password not in server.log.read_text()


@pytest.mark.parametrize("server", [TIMEOUT], indirect=True)
def test_a_database_that_hangs_does_not_hang_the_probe(server: Granian, postgres: RestartablePostgres) -> None:
    """Stopped, the database holds its connections open and says nothing: probes still answer, before it goes on."""
    with postgres.stopped():
        for _ in range(2):
            assert ask(server, "/health/ready/")[0] == 503
            assert ask(server, "/health/live/")[0] == 200
    until(lambda: status(server) == "healthy", "the recovery to be seen")
