"""A platform on the machine's own PostgreSQL: it runs as the embedded one does, and has the extensions that lacks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from bandstand.conf import wire
from bandstand.exceptions import ServerMissing
from bandstand.testing import require_server
from bandstand.workspace.manifest import load
from bandstand.workspace.runtime import facts, find_postgres, find_system_postgres, run_migrations
from bandstand.workspace.runtime.system import PostgresPrograms
from tests.integration.runtime.shop import Platform, eventually, write
from tests.ports import guarded_port

pytestmark = pytest.mark.integration

EXTENSIONS = {"pg_trgm", "unaccent", "citext", "hstore", "btree_gin", "pgcrypto"}
MIGRATION = """
from django.contrib.postgres import operations
from django.db import migrations

class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [
        operations.TrigramExtension(),
        operations.UnaccentExtension(),
        operations.CITextExtension(),
        operations.HStoreExtension(),
        operations.BtreeGinExtension(),
        operations.CryptoExtension(),
    ]
"""
SERVICE_TEST = """
import pytest
from django.db import connection

@pytest.mark.django_db
def test_extensions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT similarity('bandstand', 'bandstands') > 0.5")
        assert cursor.fetchone() == (True,)
    assert connection.pg_version // 10000 == {version}
"""


@pytest.fixture(scope="module")
def programs() -> PostgresPrograms:
    """The machine's own PostgreSQL."""
    how = "On Debian: apt-get install postgresql postgresql-contrib"
    try:
        found = find_system_postgres()
    except ServerMissing as error:
        require_server("postgres-system", found=False, how=f"{how} ({error.message})")
        raise
    share = subprocess.run([found.folder / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
    contrib = Path(share.stdout.strip()) / "extension" / "pg_trgm.control"
    require_server("postgres-system", found=share.returncode != 0 or contrib.exists(), how=how)
    return found


@pytest.fixture(scope="module")
def platform_on_system(programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that runs on it, with a service whose migrations make extensions."""
    folder = tmp_path_factory.mktemp("system") / "tiny shöp"
    write(folder, port=guarded_port())
    place(folder, "system")
    (folder / "order-service/orders/migrations/0002_search.py").write_text(MIGRATION)
    platform = Platform(folder)
    try:
        platform.up()
        yield platform
    finally:
        platform.run("down")
        for process in platform.left():
            process.kill()


def place(root: Path, postgres: str) -> None:
    """Write where PostgreSQL comes from into the manifest."""
    manifest = root / "bandstand.toml"
    manifest.write_text(f'{manifest.read_text().partition("[servers]")[0]}[servers]\npostgres = "{postgres}"\n')


def error_of(platform: Platform, *command: str) -> Any:
    ended = platform.run(*command)
    assert ended.returncode == 1, ended.stdout
    assert platform.left() == []
    return ended.stderr


def rows(platform: Platform, query: str) -> list[Any]:
    """Ask as the order service, by the URL that its processes have."""
    lines = platform.run("exec", "order-service", "env").stdout.splitlines()
    url = next(line for line in lines if line.startswith(f"{wire.DATABASE_URL}=")).partition("=")[2]
    with closing(psycopg.connect(url)) as connection:
        return connection.execute(query).fetchall()


def test_extensions_are_there(platform_on_system: Platform, programs: PostgresPrograms) -> None:
    """The service's own role made those of contrib in its migration, on the version that the machine has."""
    made = dict(rows(platform_on_system, "SELECT extname, current_setting('server_version_num') FROM pg_extension"))
    assert made.keys() >= EXTENSIONS
    assert {int(version) // 10000 for version in made.values()} == {programs.version}


def test_it_is_a_private_child_of_the_runner(platform_on_system: Platform, programs: PostgresPrograms) -> None:
    """Its programs are the machine's and its data the platform's; it listens on the loopback address alone."""
    server = psutil.Process(platform_on_system.pid("postgres"))
    assert server.exe() == str((programs.folder / "postgres").resolve())
    assert Path(server.cwd()) == platform_on_system.root / ".bandstand/postgres/data"
    assert platform_on_system.state["pid"] in [parent.pid for parent in server.parents()]
    listening = [each.laddr.ip for each in server.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert listening
    assert all(ip_address(address).is_loopback for address in listening)


def test_nobody_gets_in_without_a_password(platform_on_system: Platform) -> None:
    """Not even from this machine, and whatever the machine's own configuration of PostgreSQL says."""
    port = platform_on_system.state["ports"]["postgres"]
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", password="")


def test_the_tests_of_a_service_run_on_it(platform_on_system: Platform, programs: PostgresPrograms) -> None:
    """The pytest plugin takes PostgreSQL from where the manifest says, so that migrations work there too."""
    folder = platform_on_system.root / "order-service"
    (folder / "test_extensions.py").write_text(SERVICE_TEST.format(version=programs.version))
    arguments = ["-p", "bandstand.testing.plugin", "-p", "no:randomly", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "order_service.settings"}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-c", os.devnull, folder / "test_extensions.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout


def test_it_ends_with_the_runner_and_keeps_its_data(platform_on_system: Platform, programs: PostgresPrograms) -> None:
    """Nothing is left, the embedded PostgreSQL leaves the data alone and says what to do, and they are there again."""
    platform_on_system.json("down")
    eventually(lambda: not platform_on_system.left() and not platform_on_system.listening())
    place(platform_on_system.root, "embedded")
    told = error_of(platform_on_system, "up", "--detach")
    assert f"PostgreSQL {programs.version} made the databases in" in told
    assert 'Write postgres = "system" under [servers]' in told
    place(platform_on_system.root, str(programs.folder))
    platform_on_system.up()
    assert rows(platform_on_system, "SELECT count(*) FROM django_migrations WHERE app = 'orders'") == [(2,)]


def test_a_missing_extension_names_the_way(platform: Platform) -> None:
    """The embedded PostgreSQL has none of contrib: `up` and `migrate` say to take the machine's and what to install."""
    (platform.root / "order-service/orders/migrations/0002_search.py").write_text(MIGRATION)
    for command in (["up", "--detach"], ["migrate", "order-service"]):
        told = error_of(platform, *command)
        assert 'extension "pg_trgm" is not available' in told
        assert 'The embedded PostgreSQL has no extension "pg_trgm": write postgres = "system" under [servers]' in told
        assert "apt-get install postgresql postgresql-contrib" in told


def test_data_of_the_embedded_one_is_left_alone(platform: Platform, programs: PostgresPrograms) -> None:
    """The machine's own PostgreSQL, of another version, is not started on it; written back, all of it is there."""
    place(platform.root, "system")
    if find_system_postgres(wanted=18).version == 18:
        pytest.skip("the machine has the version of the wheel")
    told = error_of(platform, "up", "--detach")
    assert "PostgreSQL 18 made the databases in" in told
    assert f"that of this machine is {programs.version} ({programs.folder})" in told
    assert 'Write postgres = "embedded" under [servers]' in told
    place(platform.root, "embedded")
    assert platform.json("migrate") == {"migrated": ["user-service", "order-service"]}


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root has to become somebody else")
def test_root_without_user_namespaces(
    new_platform: Platform, programs: PostgresPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where namespaces are forbidden it runs as nobody, like the embedded one."""
    place(new_platform.root, str(programs.folder))
    workspace = load(new_platform.root / "bandstand.toml")
    for account in ("nobody", "namespace"):  # and back, on the same data
        monkeypatch.setattr(facts, "choose_account", lambda account=account: account)
        run_migrations(workspace, workspace.services, lambda report: None)
        owner = (new_platform.root / ".bandstand/postgres/data/PG_VERSION").stat().st_uid
        assert owner == (65534 if account == "nobody" else 0)


def test_the_embedded_one_has_no_contrib() -> None:
    """The advice of the runner holds as long as the wheel carries no contrib, and must go when it does."""
    assert not list(find_postgres().parent.rglob("pg_trgm.control"))
