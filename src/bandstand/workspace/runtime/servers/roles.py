"""The statements that give PostgreSQL's roles their passwords and rights.

A database is owned by a role of its name. The owner may log in, or a second role that acts as the owner, or both while
passwords change: see ``accounts.py``. No statement holds a password, only its verifier.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bandstand.workspace.manifest.connections import STATEMENT_TIMEOUT
from bandstand.workspace.runtime.accounts import other_user
from bandstand.workspace.runtime.servers.postgres import Login
from bandstand.workspace.runtime.servers.scram import scram_verifier

if TYPE_CHECKING:
    from psycopg.sql import Composed

    from bandstand.workspace.runtime.servers.databases import DatabasePlan

__all__ = ["joining_statement", "role_statements", "superuser_statements"]


def role_statements(database: "DatabasePlan", roles: Collection[str]) -> Iterator["Composed"]:
    """Yield the statements for the roles of ``database``; ``roles`` exist already."""
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    owner = sql.Identifier(database.name)
    # What a new role may not is the default; only a superuser may say so of a role that exists.
    rights = sql.SQL("NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT {}").format(
        sql.Literal(database.connections)
    )
    limit = sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(database.connections))
    passwords = {login.user: login.password for login in database.logins}
    if database.name not in roles:
        yield sql.SQL("CREATE ROLE {} NOLOGIN {}").format(owner, rights)
    second = other_user(database.name)
    if second in passwords:
        if second not in roles:
            yield sql.SQL("CREATE ROLE {} NOLOGIN {} IN ROLE {}").format(sql.Identifier(second), rights, owner)
        # What it makes is the owner's. Each time, since a start may have been interrupted right after it was made.
        yield sql.SQL("ALTER ROLE {} SET role = {}").format(sql.Identifier(second), sql.Literal(database.name))
    for name in (database.name, second):
        if name in passwords:
            yield sql.SQL("ALTER ROLE {} LOGIN {} PASSWORD {}").format(
                sql.Identifier(name), limit, sql.Literal(_verifier(passwords[name]))
            )
            yield sql.SQL("ALTER ROLE {} SET statement_timeout = {}").format(
                sql.Identifier(name), sql.Literal(STATEMENT_TIMEOUT)
            )
        elif name in roles:
            yield from _closing_statements(name)


def superuser_statements(logins: Sequence[Login], roles: Collection[str]) -> Iterator["Composed"]:
    """Yield the statements for the superusers of a cluster of our own; ``logins`` are in use, others are closed."""
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    if len(logins) > 1 or other_user(logins[0].user) in roles:
        for login in logins:
            verb = sql.SQL("ALTER" if login.user in roles else "CREATE")
            yield sql.SQL("{} ROLE {} LOGIN SUPERUSER PASSWORD {}").format(
                verb, sql.Identifier(login.user), sql.Literal(_verifier(login.password))
            )
        for name in _others(logins):
            if name in roles:
                yield from _closing_statements(name)


def joining_statement(owner: str) -> "Composed":
    """Return the statement that makes an administrator a member of ``owner``.

    One that is no superuser, as on a managed server, can give a database only to a role that it is a member of.
    """
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    return sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(owner))


def _closing_statements(name: str) -> Iterator["Composed"]:
    """Refuse a role, and end its sessions: nobody of ours has any."""
    from psycopg import sql  # noqa: PLC0415 - a driver, imported when it is needed

    yield sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(name))
    yield sql.SQL(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = {} AND backend_type = 'client backend' AND pg_has_role(usesysid, 'USAGE')"
    ).format(sql.Literal(name))


def _others(logins: Iterable[Login]) -> set[str]:
    users = {login.user for login in logins}
    return {other_user(user) for user in users} - users


def _verifier(password: str) -> str:
    return scram_verifier(password, os.urandom(16))
