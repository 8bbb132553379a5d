"""Whatever the shell, the user and the folder are, the platform starts as it always does."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.integration.optional.servers import require_rabbitmq
from tests.integration.runtime.shop import Platform, write
from tests.namespaces import require_namespaces
from tests.ports import guarded_port
from tests.waiting import GUARD

pytestmark = pytest.mark.integration

HOSTILE = {
    "PGAPPNAME": "elsewhere",
    "PGDATABASE": "elsewhere",
    "PGHOST": "elsewhere.example",
    "PGHOSTADDR": "192.0.2.1",
    "PGOPTIONS": "-c search_path=elsewhere",
    "PGPASSFILE": "/elsewhere",
    "PGPORT": "1",
    "PGSERVICE": "elsewhere",
    "PGSSLMODE": "verify-full",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCONNECT_TIMEOUT": "0",
    "NATS_URL": "nats://elsewhere.example",
    "REDIS_URL": "redis://elsewhere.example",
    "RABBITMQ_NODENAME": "elsewhere",
    "http_proxy": "http://127.0.0.1:9",
    "all_proxy": "http://127.0.0.1:9",
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
}


def served(platform: Platform) -> object:
    with urllib.request.urlopen(platform.state["gateway"] + "/api/users/", timeout=GUARD) as answer:
        return json.loads(answer.read())["things"]


def test_variables_of_the_shell_decide_nothing(new_platform: Platform) -> None:
    """Those of libpq, the brokers, proxies and Python reach neither the runner nor a server nor a service."""
    new_platform.shell = HOSTILE
    new_platform.up()
    assert served(new_platform) == 1
    program = "import os; print(sorted(name for name in os.environ if name.startswith(('PG', 'NATS', 'REDIS'))))"
    ended = new_platform.run("exec", "user-service", "python", "-c", program)
    assert ended.stdout.strip() == "[]"
    assert new_platform.json("down")["stopped"] is True


def test_a_user_without_a_name(new_platform: Platform) -> None:
    """PostgreSQL asks the system for the name of its user: where there is none, it gets that of nobody."""
    new_platform.before = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
    require_namespaces([*new_platform.before, *new_platform.before, "true"])  # PostgreSQL gets one within it
    new_platform.up()
    assert served(new_platform) == 1
    new_platform.before = ()  # another namespace would not see the runner
    assert new_platform.json("down")["stopped"] is True


@pytest.mark.parametrize("broker", ["nats", "rabbitmq"])
def test_a_folder_of_any_name(tmp_path: Path, broker: str) -> None:
    """Whatever may stand in a path is quoted as each server's own files want it: it starts, and serves."""
    if broker == "rabbitmq":
        require_rabbitmq()
    platform = Platform(tmp_path / 'tiny #1 100%41 shöp\'s "$HOME" \\ [a]{b};')
    write(platform.root, port=guarded_port())
    if broker == "rabbitmq":
        manifest = platform.root / "bandstand.toml"
        manifest.write_text(manifest.read_text() + '\n[servers]\nrabbitmq = "system"\n')
    try:
        platform.up()
        assert served(platform) == 1
    finally:
        platform.run("down")
    assert not platform.left()
