"""PostgreSQL: one cluster, and in it for each service a database and a role that can reach nothing else."""

import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import msgspec

from bandstand.workspace.runtime.ports import LOOPBACK
from bandstand.workspace.runtime.resources import (
    Account,
    Action,
    File,
    NotReady,
    Probe,
    Process,
    Resource,
    Stage,
    Task,
)
from bandstand.workspace.runtime.servers.base import Place

__all__ = [
    "DatabasePlan",
    "DatabaseRecord",
    "Login",
    "MoveFolder",
    "PostgresProbe",
    "PrepareDatabases",
    "RecordDatabase",
    "plan_postgres",
    "prepare_folder",
    "read_record",
]

_NOBODY: Final = 65534
# Small and quick for a developer's machine; durability is not traded away (fsync and synchronous_commit stay on).
_TUNING: Final[Mapping[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a path in a deep folder would be too long for a socket
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "min_wal_size": "80MB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum_naptime": "30s",
    "max_parallel_workers": "2",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m %u@%d ",
    "log_checkpoints": "off",
    "log_min_duration_statement": "1s",
    "log_lock_waits": "on",
}


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who connects to which database, and where."""

    host: str = LOOPBACK
    port: int
    user: str
    password: str
    database: str

    def __repr__(self) -> str:
        return f"Login({self.user}@{self.host}:{self.port}/{self.database})"

    @classmethod
    def parse(cls, url: str) -> "Login":
        """Read the URL of a server that exists, with the role that may make roles and databases."""
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or LOOPBACK,
            port=parts.port or 5432,
            user=unquote(parts.username or "postgres"),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")) or "postgres",
        )

    @property
    def url(self) -> str:
        return f"postgres://{quote(self.user)}:{quote(self.password)}@{self.host}:{self.port}/{quote(self.database)}"

    async def connect(self) -> Any:
        """Return an asynchronous psycopg connection in autocommit mode."""
        from psycopg import AsyncConnection  # noqa: PLC0415 - a driver, imported when it is needed

        return await AsyncConnection.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
            connect_timeout=5,
            autocommit=True,
        )


class PostgresProbe(Probe, frozen=True, kw_only=True):
    """Ready when the superuser can open a connection."""

    login: Login

    async def check(self) -> None:
        from psycopg import OperationalError  # noqa: PLC0415 - a driver, imported when it is needed

        try:
            connection = await self.login.connect()
        except OperationalError as error:
            raise NotReady(str(error).strip().replace("\n", " ")) from error
        await connection.close()


def plan_postgres(
    place: Place, *, binaries: Path, administrator: Login, account: Account, connections: int, exists: bool
) -> tuple[list[Resource], list[File]]:
    """Plan the cluster in the folder ``data`` of ``place``, making it first when it is not there (``exists``).

    ``connections`` is how many the services may open together.
    """
    data, fresh, password_file = (place.folder / name for name in ("data", "data.new", "password"))
    settings = {**_TUNING, "port": str(administrator.port), "max_connections": str(connections)}
    server = Process(
        name="postgres",
        label="PostgreSQL",
        stage=Stage.SERVER,
        command=place.command(binaries / "postgres", "-D", str(data), *_options(settings), account=account),
        log=place.log,
        probe=PostgresProbe(login=administrator),
        port=administrator.port,
        stop_signal=signal.SIGINT,  # the "fast" shutdown: open sessions are rolled back
        after=() if exists else ("postgres-init",),
    )
    if exists:
        return [server], []
    init = Task(
        name="postgres-init",
        label="PostgreSQL: make the cluster",
        stage=Stage.TASK,
        command=place.command(
            binaries / "initdb",
            *("-D", str(fresh), "-U", administrator.user, "--encoding=UTF8", "--locale=C.UTF-8"),
            *("--auth=scram-sha-256", f"--pwfile={password_file}", "--no-instructions"),
            account=account,
        ),
        log=place.log,
        then=MoveFolder(source=fresh, target=data, remove=password_file),
    )
    return [init, server], [File(path=password_file, content=administrator.password)]


def _options(settings: Mapping[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        yield "-c"
        yield f"{name}={value}"


class MoveFolder(Action, frozen=True, kw_only=True):
    """Put a finished folder in its place, so that an interrupted command never leaves half of it there."""

    source: Path
    target: Path
    remove: Path

    async def perform(self) -> tuple[str, ...]:
        self.source.rename(self.target)
        self.remove.unlink(missing_ok=True)
        return ()


class DatabaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the runner knows about a database, kept as the comment on that database, so that it goes where that goes.

    ``migrated`` is the fingerprint of the code whose migrations were applied, ``applied`` that of the table of
    applied migrations right after, so that a migration undone by hand is noticed.
    """

    created: str = ""
    seeded: bool = False
    migrated: str = ""
    applied: str = ""


class DatabasePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A service's own database with a role of the same name, and what need not run when it is up to date."""

    login: Login
    fingerprint: str
    migrate: str
    seeds: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.login.database


class PrepareDatabases(Action, frozen=True, kw_only=True):
    """Make each service's role and database where missing, and skip migrations and seeds that are done.

    ``closed`` names databases of the cluster itself that no service has any business in.
    """

    administrator: Login
    databases: tuple[DatabasePlan, ...]
    closed: tuple[str, ...] = ()

    async def perform(self) -> tuple[str, ...]:
        connection = await self.administrator.connect()
        async with connection:
            known = await _rows(connection, "SELECT datname FROM pg_database")
            roles = await _rows(connection, "SELECT rolname FROM pg_roles")
            await _close_to_public(connection, *self.closed)
            for database in self.databases:
                await _make_role(connection, database, exists=database.name in roles)
                if database.name not in known:
                    await _make_database(connection, database)
        skipped: list[str] = []
        for database in self.databases:
            record = await read_record(database.login)
            if record.seeded:
                skipped += database.seeds
            if record.migrated == database.fingerprint and record.applied:
                skipped.append(database.migrate)
        return tuple(skipped)


class RecordDatabase(Action, frozen=True, kw_only=True):
    """Note on a service's database that its migrations or its seeds are done."""

    login: Login
    fingerprint: str | None = None
    seeded: bool = False

    async def perform(self) -> tuple[str, ...]:
        connection = await self.login.connect()
        async with connection:
            record = _decode(await _comment(connection))
            if self.fingerprint is not None:
                applied = await _applied(connection)
                record = msgspec.structs.replace(record, migrated=self.fingerprint, applied=applied)
            if self.seeded:
                record = msgspec.structs.replace(record, seeded=True)
            await _write_record(connection, self.login.database, record)
        return ()


async def read_record(login: Login) -> DatabaseRecord:
    """Return what is noted on a database; ``migrated`` is empty when that does not hold any more.

    It asks as the service, never as the superuser: what a database holds is the service's to choose.
    """
    connection = await login.connect()
    async with connection:
        record = _decode(await _comment(connection))
        if record.migrated and record.applied != await _applied(connection):
            return msgspec.structs.replace(record, migrated="", applied="")
        return record


async def _make_role(connection: Any, database: DatabasePlan, *, exists: bool) -> None:
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    verb = sql.SQL("ALTER" if exists else "CREATE")
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD"
    await connection.execute(
        sql.SQL("{} ROLE {} {} {}").format(
            verb, sql.Identifier(database.name), sql.SQL(rights), sql.Literal(database.login.password)
        )
    )


async def _make_database(connection: Any, database: DatabasePlan) -> None:
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    name = sql.Identifier(database.name)
    await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    await _close_to_public(connection, database.name)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    await _write_record(connection, database.name, DatabaseRecord(created=created, seeded=not database.seeds))


async def _close_to_public(connection: Any, *names: str) -> None:
    """Every role may connect to every database until that is revoked."""
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    for name in names:
        await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


async def _write_record(connection: Any, name: str, record: DatabaseRecord) -> None:
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    comment = msgspec.json.encode(record).decode()
    await connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))


async def _comment(connection: Any) -> str | None:
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    row = await (await connection.execute(query)).fetchone()
    return row[0] if row else None


def _decode(comment: str | None) -> DatabaseRecord:
    """A database without our record was not made by us: it is migrated each time, and never seeded."""
    try:
        return msgspec.json.decode(comment or "", type=DatabaseRecord)
    except msgspec.MsgspecError:
        return DatabaseRecord(seeded=True)


async def _applied(connection: Any) -> str:
    """Return a fingerprint of Django's table of applied migrations, or nothing when there is none."""
    table = await (await connection.execute("SELECT to_regclass('django_migrations')")).fetchone()
    if table[0] is None:
        return ""
    query = "SELECT md5(coalesce(string_agg(app || '.' || name, ',' ORDER BY app, name), '')) FROM django_migrations"
    row = await (await connection.execute(query)).fetchone()
    return str(row[0])


async def _rows(connection: Any, query: str) -> set[str]:
    return {row[0] for row in await (await connection.execute(query)).fetchall()}


def prepare_folder(folder: Path, account: Account) -> None:
    """Remove what an interrupted initdb left, and give the folder to the account that PostgreSQL runs as.

    In a user namespace that is still root, and an earlier run may have been as nobody, or the other way round.
    """
    shutil.rmtree(folder / "data.new", ignore_errors=True)
    owner = _NOBODY if account == "nobody" else os.geteuid()
    if folder.stat().st_uid != owner:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, -1, follow_symlinks=False)
