"""A platform that can't start says so once: who, why, where all of it is written, what to do. And nothing is left."""

import json
import os
import socket
import sys

import pytest

from bandstand.workspace.manifest import load
from bandstand.workspace.runtime import facts, run_migrations
from tests.integration.runtime.shop import Platform

pytestmark = pytest.mark.integration


def error_of(platform: Platform) -> dict[str, str]:
    ended = platform.run("up", "--detach", "--json")
    assert ended.returncode == 1, ended.stdout
    found: dict[str, str] = json.loads(ended.stdout)["error"]
    assert found["message"] in ended.stderr
    assert platform.left() == []
    return found


def test_a_failing_migration(platform: Platform) -> None:
    """The message names the service, ends with the exception, and says where the log is and what to do."""
    migration = platform.root / "order-service/orders/migrations/0001_initial.py"
    migration.write_text(migration.read_text() + "\nraise RuntimeError('this migration is broken')\n")
    error = error_of(platform)
    assert error["code"] == "migration_failed"
    assert "order-service: migrate failed" in error["message"]
    assert "RuntimeError: this migration is broken" in error["message"]
    assert str(platform.root / ".bandstand/logs/order-service-migrate.log") in error["message"]
    assert "bandstand migrate order-service" in error["hint"]


def test_a_service_that_crashes_at_its_start(platform: Platform) -> None:
    """After three deaths before it was ever ready the start is given up, with the end of the real traceback."""
    wsgi = platform.root / "user-service/user_service/wsgi.py"
    wsgi.write_text("import does_not_exist\n")
    error = error_of(platform)
    assert error["code"] == "service_failed"
    assert "user-service web" in error["message"]
    assert "ModuleNotFoundError: No module named 'does_not_exist'" in error["message"]


def test_lost_passwords(platform: Platform) -> None:
    """Databases whose passwords are gone are left alone, and that is said at once."""
    (platform.root / ".bandstand/secrets.json").unlink()
    error = error_of(platform)
    assert "secrets.json is missing" in error["message"]
    assert "empty databases" in error["hint"]
    assert not (platform.root / ".bandstand/secrets.json").exists()


def test_a_gateway_port_that_is_taken(platform: Platform) -> None:
    """The gateway takes the next free port, and that is said."""
    wanted = int((platform.root / "bandstand.toml").read_text().split("port = ")[1].split()[0])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", wanted))
        taken.listen()
        ended = platform.run("up", "--detach")
    assert ended.returncode == 0, ended.stderr
    assert f"Port {wanted} is taken" in ended.stdout
    assert f"http://127.0.0.1:{wanted}" not in ended.stdout
    assert platform.state["gateway"] in ended.stdout


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root has to become somebody else")
def test_root_without_user_namespaces(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where namespaces are forbidden PostgreSQL runs as nobody, below folders that nobody may look into."""
    workspace = load(platform.root / "bandstand.toml")
    for account in ("nobody", "namespace"):  # and back, on the same data
        monkeypatch.setattr(facts, "choose_account", lambda account=account: account)
        run_migrations(workspace, workspace.services, lambda report: None)
        owner = (platform.root / ".bandstand/postgres/data/PG_VERSION").stat().st_uid
        assert owner == (65534 if account == "nobody" else 0)


def test_what_was_never_started_may_be_stopped_and_looked_at(new_platform: Platform) -> None:
    """`down` and `ps` say that nothing runs; `reload` and `exec` say what to do first."""
    assert new_platform.json("down")["stopped"] is False
    assert new_platform.json("ps") == {
        "platform": "tiny",
        "running": False,
        "pid": None,
        "ready": False,
        "gateway": "",
        "processes": [],
    }
    for arguments in (("reload",), ("exec", "user-service", "true")):
        ended = new_platform.run(*arguments)
        assert ended.returncode == 1
        assert "bandstand up" in ended.stderr
