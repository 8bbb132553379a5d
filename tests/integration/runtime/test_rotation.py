"""All passwords and keys of a platform are replaced while it runs, also when the command is killed on its way."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import psycopg
import pytest
import redis

from bandstand.conf import wire
from bandstand.workspace.runtime import StateFolder
from bandstand.workspace.runtime.credentials import (
    Credentials,
    ServiceCredentials,
    load_credentials,
    save_credentials,
)
from bandstand.workspace.runtime.operations import change_passwords
from bandstand.workspace.runtime.servers.postgres import Login
from tests.integration.runtime.shop import BANDSTAND, Platform, eventually
from tests.waiting import GUARD

pytestmark = pytest.mark.integration

SERVICES = ("user-service", "order-service")
LINES = range(1, 8) if os.environ.get("BANDSTAND_TEST_LONG") else (2, 5)  # of the command's output
ROTATE = ("secrets", "rotate", "--token-lifetime", "0")


def environment(platform: Platform, service: str) -> Mapping[str, str]:
    """Return the variables of a service that hold its secrets."""
    lines = platform.run("exec", service, "env").stdout.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def credentials(platform: Platform) -> Credentials:
    return load_credentials(platform.root / ".bandstand" / "secrets.json", SERVICES)


def things(platform: Platform, service: str) -> Any:
    """Return what a service answers after it has asked its database; two processes may serve it for a moment."""
    url = next(row["url"] for row in platform.state["processes"] if row["service"] == service and row["url"])
    with urlopen(f"{url}/api/v1/{'users' if service == 'user-service' else 'orders'}/", timeout=GUARD) as response:
        return json.load(response)


def administrator(platform: Platform, found: Credentials) -> Login:
    [account] = found.administrators("postgres", "postgres")
    port = platform.state["ports"]["postgres"]
    return Login(port=port, user=account.user, password=account.password, database="postgres")


def enters_postgres(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if "not permitted to log in" in str(error) or "password authentication failed" in str(error):
            return False
        raise
    return True


def enters_redis(url: str) -> bool:
    client = redis.Redis.from_url(url, socket_timeout=GUARD, protocol=2)
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return False
    finally:
        client.close()


def key_ids(platform: Platform) -> set[str]:
    trusted = json.loads((platform.root / ".bandstand" / "keys" / "trusted.json").read_text())
    users = json.loads((platform.root / ".bandstand" / "keys" / "user-service.users.json").read_text())
    return {key["kid"] for key in [*trusted["keys"], *users.get("keys", [users])]}


def assert_replaced(platform: Platform, before: Mapping[str, Mapping[str, str]], known: Credentials) -> None:
    """Nothing of ``before`` is accepted, all that is in use now is, and every process works."""
    for service in SERVICES:
        now = environment(platform, service)
        for name in (wire.SECRET_KEY, wire.DATABASE_URL, wire.CACHE_URL, wire.BROKER_URL):
            assert now[name] != before[service][name], name
        for variable, enters in ((wire.DATABASE_URL, enters_postgres), (wire.CACHE_URL, enters_redis)):
            assert enters(now[variable])
            assert not enters(before[service][variable])
        assert things(platform, service)["service"] == service
    assert enters_postgres(administrator(platform, credentials(platform)).url)
    assert not enters_postgres(administrator(platform, known).url)


def test_everything_is_replaced_twice(platform: Platform) -> None:
    """The second time everybody goes back to the first user; data, ownership and the next start are as before."""
    platform.up()
    for _ in range(2):
        before, known = {name: environment(platform, name) for name in SERVICES}, credentials(platform)
        old_keys, pids = key_ids(platform), {name: platform.pid(f"{name}-web") for name in SERVICES}
        answer = platform.json(*ROTATE)
        assert answer == {"services": list(SERVICES), "servers": ["postgres", "redis", "nats"], "external": []}
        assert_replaced(platform, before, known)
        assert not old_keys & key_ids(platform)
        assert len(key_ids(platform)) == len(old_keys) == 3
        assert all(platform.pid(f"{name}-web") != pid for name, pid in pids.items())
    with psycopg.connect(environment(platform, "user-service")[wire.DATABASE_URL]) as connection:
        connection.execute("CREATE TABLE more ()")
        owner = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'more'").fetchone()
    assert owner == ("user_service",)
    assert things(platform, "user-service")["things"] == 1
    platform.run("down")
    platform.up()
    assert things(platform, "user-service")["things"] == 1


@pytest.mark.fault
@pytest.mark.parametrize("line", LINES)
def test_a_command_that_is_killed_goes_on_where_it_was(platform: Platform, line: int) -> None:
    """Killed after any step, services work, also after another start; the next command ends what was begun."""
    platform.up()
    before, known = {name: environment(platform, name) for name in SERVICES}, credentials(platform)
    command = subprocess.Popen([BANDSTAND, *ROTATE], cwd=platform.root, stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    for _ in range(line):
        assert command.stdout.readline()
    command.kill()
    command.wait()
    command.stdout.close()
    rotation = credentials(platform).rotation
    for service in SERVICES:
        assert eventually(lambda service=service: things(platform, service))["service"] == service
    platform.run("down")
    platform.up()
    assert credentials(platform).rotation == rotation
    for service in SERVICES:
        assert eventually(lambda service=service: things(platform, service))["service"] == service
        assert enters_postgres(before[service][wire.DATABASE_URL]), "the old one is accepted until the last step"
    ended = platform.run(*ROTATE)
    assert ended.returncode == 0, ended.stderr
    assert ("goes on" in ended.stdout) == (rotation is not None)
    assert credentials(platform).rotation is None
    assert_replaced(platform, before, known)


@pytest.mark.fault
def test_tooth_passwords_that_change_at_once_are_missed(platform: Platform) -> None:
    """Where the servers accept only the new ones, a service that has the old one loses its database."""
    platform.up()
    known, folder = credentials(platform), StateFolder(platform.root / ".bandstand")
    new = msgspec.structs.replace(known, services={name: ServiceCredentials(second=True) for name in SERVICES})
    save_credentials(folder.credentials, new)
    change_passwords(folder)
    with pytest.raises(HTTPError):
        things(platform, "user-service")


def test_what_does_not_run_is_not_rotated(platform: Platform) -> None:
    """The message names the command, and nothing changes."""
    before = (platform.root / ".bandstand" / "secrets.json").read_bytes()
    ended = platform.run(*ROTATE)
    assert ended.returncode != 0
    assert "The platform is not running" in ended.stderr
    assert "bandstand up" in ended.stderr
    assert (platform.root / ".bandstand" / "secrets.json").read_bytes() == before


@pytest.mark.fault
def test_only_one_command_changes_secrets(platform: Platform) -> None:
    """A second one is refused with a sentence, and the first ends well."""
    platform.up()
    with subprocess.Popen([BANDSTAND, *ROTATE], cwd=platform.root, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = platform.run(*ROTATE)
        assert second.returncode == 1
        assert "Another command changes the secrets" in second.stderr
        first.stdout.read()
    assert first.returncode == 0
    assert credentials(platform).rotation is None


@pytest.mark.fault
def test_ctrl_c_says_that_it_goes_on_later(platform: Platform) -> None:
    """It ends without a traceback, and with the exit status of an interrupted command."""
    platform.up()
    with subprocess.Popen(
        [BANDSTAND, *ROTATE], cwd=platform.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        for _ in range(2):
            command.stdout.readline()
        command.send_signal(signal.SIGINT)
        said = command.stderr.read()
    assert command.returncode == 130
    assert "Traceback" not in said
    assert "goes on" in said
    assert eventually(lambda: things(platform, "user-service"))["service"] == "user-service"
