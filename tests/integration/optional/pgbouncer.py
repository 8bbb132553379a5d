"""PgBouncer from the system's packages, as a private child: many connections of clients on few of PostgreSQL's."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psycopg

from bandstand.testing import EphemeralPostgres
from bandstand.workspace.runtime.ports import LOOPBACK
from tests.integration.servers import Postgres, Server, tied
from tests.programs import require_program


class PgBouncer(Server):
    """Stands before ``postgres`` and shares ``sessions`` of it, each for a transaction; tests look past it.

    ``settings`` are further lines of its configuration: of several with one name the last one holds.
    """

    name = "pgbouncer"

    def __init__(self, postgres: Postgres | EphemeralPostgres, *, sessions: int, **settings: object) -> None:
        self.program = require_program("pgbouncer")
        super().__init__()
        self.postgres = postgres
        users, configuration = self.folder / "users", self.folder / "pgbouncer.ini"
        users.write_text(f'"postgres" "{postgres.password}"\n')
        configuration.write_text(
            f"""
            [databases]
            * = host={LOOPBACK} port={postgres.port}
            [pgbouncer]
            listen_addr = {LOOPBACK}
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = plain
            auth_file = {users}
            pool_mode = transaction
            default_pool_size = {sessions}
            max_client_conn = 200
            """
            + "\n".join(f"{name} = {value}" for name, value in settings.items())
        )
        for path, mode in ((self.folder, 0o755), (users, 0o644), (configuration, 0o644)):
            path.chmod(mode)

    def command(self) -> list[str]:
        account = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
        return tied([self.program, "-q", *account, self.folder / "pgbouncer.ini"])

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str) -> str:
        return f"postgresql://postgres:{self.postgres.password}@{LOOPBACK}:{self.port}/{database}"

    def execute(self, statement: str, database: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return self.postgres.execute(statement, database, parameters)

    def copy(self, template: str, name: str) -> None:
        self.postgres.copy(template, name)

    def drop(self, name: str) -> None:
        self.postgres.drop(name)


Pooler = Callable[..., PgBouncer]


@contextmanager
def poolers(postgres: Postgres | EphemeralPostgres) -> Iterator[Pooler]:
    """Give a function that starts a PgBouncer before ``postgres`` with settings of its own; all end with the block."""
    with ExitStack() as stack:

        def start(**settings: Any) -> PgBouncer:
            started = stack.enter_context(closing(PgBouncer(postgres, **settings)))
            started.start()
            return started

        yield start
