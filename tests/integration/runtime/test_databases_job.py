"""The job of the rendered Compose file that makes databases and roles, on a real PostgreSQL, while passwords change."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psycopg
import pytest

from bandstand.conf import wire
from bandstand.testing.postgres import EphemeralPostgres
from bandstand.workspace.export.compose.stores import (
    ADMINISTRATOR_SECRETS,
    databases_script,
    role_secrets,
    stores,
)
from bandstand.workspace.manifest import Workspace, parse
from bandstand.workspace.rotation import SECOND, RotationStep
from bandstand.workspace.runtime import find_postgres, rotate_files, write_secrets
from bandstand.workspace.runtime.servers.postgres import Login
from tests.waiting import GUARD

pytestmark = pytest.mark.integration

SHOP: Final = '[platform]\nname = "shop"\n[services.user-service]\n[services.order-service]\n'


class Job:
    """The job with its secrets in a folder, and what PostgreSQL says to a service's URL."""

    def __init__(self, folder: Path, server: Login) -> None:
        self.workspace: Workspace = parse(SHOP)
        self.secrets, self._folder, self._server = folder / "secrets", folder, server
        administrator = self.secrets / "postgres" / "administrator"
        administrator.parent.mkdir(parents=True)
        administrator.write_text(server.password)
        write_secrets(self.workspace, self.secrets)

    def run(self) -> None:
        """Run it as Compose does; only the places of its files, and the server's address, are others."""
        mounted = self._folder / "mounted"
        mounted.mkdir(exist_ok=True)
        files = dict(ADMINISTRATOR_SECRETS)
        for service in self.workspace.services:
            first, second = role_secrets(service)
            files |= {first: f"postgres/{service.name}", second: f"postgres/{service.name}{SECOND}"}
        for name, file in files.items():
            (mounted / name).unlink(missing_ok=True)
            (mounted / name).symlink_to(self.secrets / file)
        script = mounted / "databases.sql"
        script.write_text(databases_script(self.workspace).replace("/run/secrets", str(mounted)))
        [shell, option, command] = dict(stores(self.workspace))["databases"]["entrypoint"]
        command = command.replace("$$", "$").replace("/run/secrets", str(mounted))
        environment = {
            "PATH": f"{find_postgres()}:{os.environ['PATH']}",
            "PGHOST": self._server.host,
            "PGPORT": str(self._server.port),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
        }
        command = command.replace("/databases.sql", str(script))
        done = subprocess.run(
            [shell, option, command], env=environment, capture_output=True, text=True, check=False, timeout=GUARD
        )
        assert done.returncode == 0, done.stderr

    def login(self, service: str) -> Login:
        """Return the login in the URL of a service, at the server of the test."""
        login = Login.parse((self.secrets / service / wire.DATABASE_URL).read_text())
        return msgspec.structs.replace(login, host=self._server.host, port=self._server.port)


def enters(login: Login) -> bool:
    try:
        psycopg.connect(login.url).close()
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)  # noqa: PT017 - any other fault is one of the test
        return False
    return True


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    with EphemeralPostgres() as server:
        yield Job(tmp_path, Login.parse(server.url))


def test_roles_follow_the_steps_of_a_rotation(job: Job) -> None:
    """In each step the right ones may log in, also when the job runs twice; what the second one makes is the first's.
    The administrator's own password changes in the first step.
    """
    job.run()
    for _ in range(2):
        old = job.login("order-service")
        for step in RotationStep:
            rotate_files(job.workspace, job.secrets, step)
            job.run()
            job.run()
            new = job.login("order-service")
            assert enters(new)
            assert enters(old) == (step is not RotationStep.RETIRE)
        assert new.user != old.user
        with psycopg.connect(new.url, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE {'made_' + new.user.replace('.', '_')} ()".encode())
            owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'made%'")
            assert owners.fetchall() == [("order_service",)]
            assert connection.execute("SHOW statement_timeout").fetchone() != ("0",)
            query = "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege('public', oid, %s)"
            assert connection.execute(query, ["CONNECT"]).fetchall() == [], "open to everybody"


def test_a_session_of_a_closed_role_ends(job: Job) -> None:
    """Somebody who has the old password keeps no connection, and the services' own go on."""
    job.run()
    with psycopg.connect(job.login("user-service").url, autocommit=True) as stolen:
        for step in (RotationStep.ACCEPT, RotationStep.USE):
            rotate_files(job.workspace, job.secrets, step)
            job.run()
        stolen.execute("SELECT 1")
        with psycopg.connect(job.login("user-service").url, autocommit=True) as own:
            rotate_files(job.workspace, job.secrets, RotationStep.RETIRE)
            job.run()
            own.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError):
                stolen.execute("SELECT 1")
