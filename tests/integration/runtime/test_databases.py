"""Databases and roles on a real PostgreSQL: made once, closed to others, remembered truthfully."""

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec
import psycopg
import pytest

from bandstand.testing.postgres import EphemeralPostgres
from bandstand.workspace.runtime.servers.databases import DatabasePlan, PrepareDatabases, RecordDatabase
from bandstand.workspace.runtime.servers.postgres import Login

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def administrator() -> Iterator[Login]:
    with EphemeralPostgres() as server:
        yield Login.parse(server.url)


@pytest.fixture
def step(administrator: Login, request: pytest.FixtureRequest) -> PrepareDatabases:
    name = f"service_{abs(hash(request.node.name))}"
    login = Login(port=administrator.port, user=name, password="pw", database=name)
    database = DatabasePlan(logins=(login,), fingerprint="now", migrate="migrate", seeds=("seed",), connections=5)
    return PrepareDatabases(administrators=(administrator,), databases=(database,), owned=True)


def perform(action: PrepareDatabases | RecordDatabase) -> tuple[str, ...]:
    return asyncio.run(action.perform())


def execute(login: Login, *statements: str) -> None:
    with psycopg.connect(login.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def login_of(step: PrepareDatabases) -> Login:
    return step.databases[0].login


def migrate(login: Login) -> None:
    table = "CREATE TABLE IF NOT EXISTS django_migrations (app text, name text)"
    execute(login, table, "INSERT INTO django_migrations VALUES ('app', '0001')")


def test_a_new_database_is_migrated_and_seeded(step: PrepareDatabases) -> None:
    """Nothing is skipped until it was noted as done; then both are, one by one."""
    login = login_of(step)
    assert perform(step) == ()
    migrate(login)
    perform(RecordDatabase(login=login, fingerprint="now"))
    assert perform(step) == ("migrate",)
    perform(RecordDatabase(login=login, seeded=True))
    assert set(perform(step)) == {"migrate", "seed"}


def test_a_start_that_was_interrupted_is_made_good(step: PrepareDatabases, administrator: Login) -> None:
    """A database that was made, but neither closed to others nor noted, is closed and seeded at the next start."""
    login = login_of(step)
    name = login.database
    execute(administrator, f"CREATE ROLE {name} LOGIN PASSWORD 'pw'", f"CREATE DATABASE {name} OWNER {name}")
    assert perform(step) == ()
    execute(administrator, f"CREATE ROLE {name}_other LOGIN PASSWORD 'pw'")
    other = Login(port=login.port, user=f"{name}_other", password="pw", database=name)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(other.url)


def test_other_code_is_migrated(step: PrepareDatabases) -> None:
    """With another fingerprint the migrations run."""
    perform(step)
    migrate(login_of(step))
    perform(RecordDatabase(login=login_of(step), fingerprint="before"))
    assert perform(step) == ()


def test_somebody_elses_database_is_migrated_and_never_seeded(step: PrepareDatabases, administrator: Login) -> None:
    """A database with tables, or with a comment that is not ours, was filled by somebody else."""
    name = login_of(step).database
    execute(administrator, f"CREATE ROLE {name} LOGIN PASSWORD 'pw'", f"CREATE DATABASE {name} OWNER {name}")
    migrate(login_of(step))
    assert perform(step) == ("seed",)
    execute(administrator, f"COMMENT ON DATABASE {name} IS 'mine'")
    assert perform(step) == ("seed",)


def test_an_administrator_who_is_no_superuser(step: PrepareDatabases, administrator: Login) -> None:
    """On a managed server a role with CREATEDB and CREATEROLE is enough, at the first start and at the next."""
    name = f"maker_{step.databases[0].name}"[:60]
    execute(administrator, f"CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD 'pw'")
    execute(administrator, f"GRANT CONNECT ON DATABASE postgres TO {name}")
    maker = Login(port=administrator.port, user=name, password="pw", database="postgres")
    owner = login_of(step).user
    for users in ((owner,), (owner, f"{owner}.b"), (f"{owner}.b",), (owner,)):
        perform(PrepareDatabases(administrators=(maker,), databases=with_second(step, *users).databases))
    with psycopg.connect(administrator.url) as connection:
        query = "SELECT rolsuper, has_database_privilege('public', rolname, 'CONNECT') FROM pg_roles WHERE rolname = %s"
        assert connection.execute(query, [login_of(step).user]).fetchone() == (False, False)


def with_second(step: PrepareDatabases, *users: str) -> PrepareDatabases:
    """The same with these roles as those that may log in, the one in use first."""
    [database] = step.databases
    logins = tuple(msgspec.structs.replace(database.login, user=user) for user in users)
    return msgspec.structs.replace(step, databases=(msgspec.structs.replace(database, logins=logins),))


def tried(login: Login, user: str) -> str:
    """Return what a login is refused with, or an empty text."""
    try:
        psycopg.connect(msgspec.structs.replace(login, user=user).url).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_a_second_role_acts_as_the_owner(step: PrepareDatabases, administrator: Login) -> None:
    """Both may log in while passwords change. What the second one makes is the owner's, who uses it later; one that is
    closed loses its sessions, and the superuser's background processes go on.
    """
    owner = login_of(step).user
    second = f"{owner}.b"
    perform(step)
    perform(with_second(step, owner, second))
    assert (tried(login_of(step), owner), tried(login_of(step), second)) == ("", "")
    with psycopg.connect(login_of(with_second(step, second)).url, autocommit=True) as connection:
        connection.execute("CREATE TABLE made ()")
        timeout = connection.execute("SHOW statement_timeout").fetchone()
        with psycopg.connect(login_of(step).url, autocommit=True) as stolen:
            perform(with_second(step, second))
            with pytest.raises(psycopg.OperationalError):
                stolen.execute("SELECT 1")
        connection.execute("SELECT 1")
    assert "password authentication failed" in tried(login_of(step), owner)
    perform(with_second(step, owner))
    assert "password authentication failed" in tried(login_of(step), second)
    with psycopg.connect(login_of(step).url) as connection:
        connection.execute("ALTER TABLE made ADD COLUMN more integer")
        assert connection.execute("SHOW statement_timeout").fetchone() == timeout != ("0",)


def test_a_second_role_that_was_half_made_acts_as_the_owner(step: PrepareDatabases, administrator: Login) -> None:
    """A start that was interrupted after the role was made, and before the rest, is made good by the next one."""
    perform(step)
    owner = login_of(step).user
    execute(administrator, f'CREATE ROLE "{owner}.b" NOLOGIN IN ROLE {owner}')
    perform(with_second(step, f"{owner}.b"))
    second = login_of(with_second(step, f"{owner}.b"))
    execute(second, "CREATE TABLE made ()")
    with psycopg.connect(second.url) as connection:
        query = "SELECT tableowner FROM pg_tables WHERE tablename = 'made'"
        assert connection.execute(query).fetchone() == (owner,)


def test_two_superusers_of_a_cluster_of_our_own(step: PrepareDatabases, administrator: Login) -> None:
    """The second one is made by the first, and closes it; then the other way round."""
    second = msgspec.structs.replace(administrator, user=f"{administrator.user}.b", password="other")
    perform(msgspec.structs.replace(step, administrators=(administrator, second)))
    perform(msgspec.structs.replace(step, administrators=(second,)))
    assert "password authentication failed" in tried(administrator, administrator.user)
    perform(msgspec.structs.replace(step, administrators=(second, administrator)))
    perform(msgspec.structs.replace(step, administrators=(administrator,)))
    assert "password authentication failed" in tried(second, second.user)
    assert tried(administrator, administrator.user) == ""


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE ROLE mine LOGIN",
        "CREATE DATABASE mine",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
        "ALTER ROLE {other} PASSWORD 'mine'",
        "ALTER DATABASE {other} SET search_path TO mine",
        "ALTER SYSTEM SET fsync = off",
        "DROP DATABASE {other}",
        "REASSIGN OWNED BY {other} TO CURRENT_USER",
        "GRANT {other} TO CURRENT_USER",
        "SET ROLE {other}",
        "SET SESSION AUTHORIZATION {other}",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_shadow",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "CREATE EXTENSION plpython3u",
        "CREATE TABLESPACE mine LOCATION '/tmp'",
        "CREATE SUBSCRIPTION mine CONNECTION 'dbname=x' PUBLICATION x WITH (connect = false)",
        "SELECT pg_create_physical_replication_slot('mine')",
        "SELECT pg_terminate_backend({session})",
        "SELECT pg_cancel_backend({session})",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
        "SELECT lo_import('/etc/passwd')",
    ],
)
def test_a_service_reaches_nothing_of_another(step: PrepareDatabases, administrator: Login, statement: str) -> None:
    """With its own role: each of these is refused by the server."""
    perform(step)
    login = login_of(step)
    other = Login(port=login.port, user="victim", password="pw", database="victim")
    plan = DatabasePlan(logins=(other,), fingerprint="now", migrate="migrate", connections=5)
    perform(PrepareDatabases(administrators=(administrator,), databases=(plan,)))
    with psycopg.connect(other.url) as session:
        row = session.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        text = statement.format(other=other.user, session=row[0])
        with pytest.raises(psycopg.Error) as refused:
            execute(login, text)
        assert refused.value.sqlstate in {"42501", "0A000", "58P01"}, refused.value  # the last: no such extension
        assert session.execute("SELECT 1").fetchone() == (1,)
    own = Login(port=login.port, user=login.user, password="pw", database=other.database)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(own.url)


def test_a_service_has_limits(step: PrepareDatabases) -> None:
    """Of its connections, so that it does not take those of others, and of the time of a statement."""
    perform(step)
    login = login_of(step)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(psycopg.connect(login.url))
            assert connection.execute("SHOW statement_timeout").fetchone() == ("5min",)
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(login.url)


def test_a_new_password_is_given_to_the_role(step: PrepareDatabases, administrator: Login) -> None:
    """Where the secrets were lost and made anew, the roles get the new ones."""
    perform(step)
    login = Login(port=administrator.port, user=login_of(step).user, password="new", database=login_of(step).database)
    database = DatabasePlan(logins=(login,), fingerprint="now", migrate="migrate", connections=5)
    perform(PrepareDatabases(administrators=(administrator,), databases=(database,)))
    execute(login, "SELECT 1")
