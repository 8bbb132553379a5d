"""The log of a PostgreSQL that `up` started has events, and no value of any statement."""

from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.resources import Process
from bandstand.workspace.runtime.servers.databases import DatabasePlan, PrepareDatabases
from bandstand.workspace.runtime.servers.postgres import Login, PostgresProbe
from bandstand.workspace.runtime.supervisor import Supervisor
from tests.integration.runtime.test_servers_that_hang import place, postgres, supervised

pytestmark = pytest.mark.integration

PASSWORD = "pässword of the role \u2168"
VALUE = "someone@example.com"
FAULTS = (
    f"INSERT INTO people VALUES ('{VALUE}', NULL)",  # "Failing row contains (…)"
    f"INSERT INTO people VALUES ('{VALUE}', 1); INSERT INTO people VALUES ('{VALUE}', 2)",  # "Key (…) already exists"
    f"SELECT pg_sleep(1.2), '{VALUE}'",  # slow
    f"SELECT '{VALUE}' FROM nothing_of_that_name",
)


def test_no_value_reaches_the_log(tmp_path: Path) -> None:
    """Neither of a failed statement, nor of a slow one, nor a password that a role is given."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = supervised("postgres", postgres(place(folder)))
    process = server.status.resource
    assert isinstance(process, Process)
    assert isinstance(process.probe, PostgresProbe)
    administrator = process.probe.login
    own = Login(port=administrator.port, user="people", password=PASSWORD, database="people")
    plan = DatabasePlan(logins=(own,), fingerprint="", migrate="migrate", connections=5)

    async def work(_: Supervisor) -> None:
        await server.reaches(Phase.READY)
        for _ in range(2):  # CREATE, then ALTER
            await PrepareDatabases(administrators=(administrator,), databases=(plan,)).perform()
        connection = await own.connect()
        async with connection:
            await connection.execute("CREATE TABLE people (email text UNIQUE, password int NOT NULL)")
            for fault in FAULTS:
                with suppress(psycopg.Error):
                    await connection.execute(fault.encode())

    server.run(work)
    log = (folder.with_name("server.log")).read_text()
    assert "duplicate key value violates unique constraint" in log
    assert "does not exist" in log
    for secret in (VALUE, PASSWORD, "SCRAM-SHA-256$"):
        assert secret not in log
