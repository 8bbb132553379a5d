"""A database and a role for each service, and what is noted on the database about them."""

import asyncio
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from bandstand.workspace.runtime.resources import Action
from bandstand.workspace.runtime.servers.postgres import Login
from bandstand.workspace.runtime.servers.roles import joining_statement, role_statements, superuser_statements

__all__ = ["DatabasePlan", "DatabaseRecord", "PrepareDatabases", "RecordDatabase", "read_record"]


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
    """A service's own database, which a role of the same name owns, and what need not run when it is up to date.

    ``logins`` are the roles that may log in, the one in use first: the owner, another one that acts as the owner, or
    both. Each may have at most ``connections``.
    """

    logins: tuple[Login, ...]
    fingerprint: str
    migrate: str
    connections: int
    seeds: tuple[str, ...] = ()

    @property
    def login(self) -> Login:
        return self.logins[0]

    @property
    def name(self) -> str:
        return self.login.database


class PrepareDatabases(Action, frozen=True, kw_only=True):
    """Make roles and databases where missing, close unused roles, and skip migrations and seeds that are done.

    Of ``administrators`` the first is in use. ``owned`` says that the cluster is ours: then they are ours as well, and
    the databases that each cluster has are closed too.
    """

    administrators: tuple[Login, ...]
    databases: tuple[DatabasePlan, ...]
    owned: bool = False

    async def perform(self) -> tuple[str, ...]:
        connection = await self.administrators[0].connect()
        async with connection:
            known = await _rows(connection, "SELECT datname FROM pg_database")
            roles = await _rows(connection, "SELECT rolname FROM pg_roles")
            superuser = await _is_superuser(connection)
            for statement in self._statements(roles, superuser=superuser):
                await connection.execute(statement)
            for database in self.databases:
                if database.name not in known:
                    await _make_database(connection, database.name)
            # Each time, since a start may have been interrupted right after a database was made.
            closed = ("postgres", "template1") if self.owned else ()
            await _close_to_public(connection, *closed, *(database.name for database in self.databases))
        records = await asyncio.gather(*(_begin_record(database) for database in self.databases))
        return tuple(
            name for database, record in zip(self.databases, records, strict=True) for name in _done(database, record)
        )

    def _statements(self, roles: Collection[str], *, superuser: bool) -> Iterator[Any]:
        if self.owned:
            yield from superuser_statements(self.administrators, roles)
        for database in self.databases:
            yield from role_statements(database, roles)
            if not superuser:
                yield joining_statement(database.name)


def _done(database: DatabasePlan, record: DatabaseRecord) -> Iterator[str]:
    if record.seeded:
        yield from database.seeds
    if record.applied and record.migrated == database.fingerprint:
        yield database.migrate


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


async def _begin_record(database: DatabasePlan) -> DatabaseRecord:
    """Return the record, after beginning one where there is none: a database without tables is a new one."""
    connection = await database.login.connect()
    async with connection:
        if await _comment(connection) is None:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            filled = bool(await _applied(connection))
            record = DatabaseRecord(created=created, seeded=filled or not database.seeds)
            await _write_record(connection, database.name, record)
    return await read_record(database.login)


async def _is_superuser(connection: Any) -> bool:
    query = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    row = await (await connection.execute(query)).fetchone()
    return bool(row[0])


async def _make_database(connection: Any, name: str) -> None:
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    await connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))


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
    """A database that carries another comment was not made by us: it is migrated each time, and never seeded."""
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
