"""A platform that runs: what it answers, what it keeps apart, and how it heals."""

import asyncio
import json
import os
import signal
import socket
import stat
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis

from bandstand.workspace.runtime.servers.databases import read_record
from bandstand.workspace.runtime.servers.postgres import Login
from tests.integration.runtime.shop import Platform, eventually
from tests.waiting import GUARD

pytestmark = pytest.mark.integration


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=GUARD) as answer:
        return json.loads(answer.read())


def served(platform: Platform, path: str = "/api/users/") -> Any:
    return get(platform.state["gateway"] + path)


def environment(platform: Platform, service: str) -> dict[str, str]:
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    ended = platform.run("exec", service, "python", "-c", program)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, str] = json.loads(ended.stdout)
    return found


def test_the_gateway_serves_every_service(running: Platform) -> None:
    """A request through the gateway reaches the service, with the version in its path and without, and its data."""
    assert served(running, "/api/v1/users/")["things"] == 1
    assert served(running, "/api/orders/")["service"] == "order-service"


def test_ready_means_that_the_gateway_knows_every_service(platform: Platform) -> None:
    """While the gateway has not read where the services are, `up` waits; the first requests after it are served."""
    starting = platform.foreground()
    try:
        eventually(lambda: "gateway" in _ready_ones(platform))
        gateway = platform.pid("gateway")
        os.kill(gateway, signal.SIGSTOP)
        eventually(lambda: {"user-service-web", "order-service-web"} <= _ready_ones(platform))
        told = platform.json("ps")
        assert (told["running"], told["ready"]) == (True, False)
        with suppress(ProcessLookupError):  # on a machine that needed a minute, the runner has replaced it by now
            os.kill(gateway, signal.SIGCONT)
        eventually(lambda: platform.state["ready"])
        assert served(platform, "/api/orders/")["service"] == "order-service"
        assert served(platform)["service"] == "user-service"
    finally:
        starting.terminate()
        starting.communicate(timeout=GUARD)


def test_two_that_start_at_once_share_no_port(platform: Platform, twin: Platform) -> None:
    """Two copies with the same ports in their manifests and states each get their own, and their own requests."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(Platform.up, (platform, twin)))
    assert not platform.ports() & twin.ports()
    for each in (platform, twin):
        answering = {served(each)["pid"] for _ in range(20)}
        started = {child.pid for child in psutil.Process(each.state["pid"]).children(recursive=True)}
        assert answering <= started


def test_a_second_start_is_refused(running: Platform) -> None:
    """Who starts a platform that runs is told its process and what to do, and nothing happens."""
    ended = running.run("up", "--detach", "--json")
    assert ended.returncode == 1
    error = json.loads(ended.stdout)["error"]
    assert error["code"] == "already_running"
    assert str(running.state["pid"]) in error["message"]
    assert "bandstand down" in error["hint"]
    assert served(running)


def test_nothing_listens_beyond_this_machine(running: Platform) -> None:
    """Every socket that any process of the platform listens on is bound to the loopback address."""
    runner = psutil.Process(running.state["pid"])
    listening = [
        connection.laddr
        for process in (runner, *runner.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 6
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_the_state_folder_is_the_owners_alone(running: Platform) -> None:
    """Nobody else can read the folder, and what holds a secret is closed by itself too."""
    folder = running.root / ".bandstand"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = [
        folder / "secrets.json",
        *(folder / "keys").iterdir(),
        folder / "nats/nats.json",
        folder / "redis/users.acl",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_a_service_can_not_connect_to_another_database(running: Platform) -> None:
    """A service's role is let into its own database and into no other, not even those of the cluster."""
    url = environment(running, "order-service")["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE mine (id int)")
        connection.execute("DROP TABLE mine")
    for database in ("user_service", "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url, dbname=database)


def test_a_service_can_not_reach_another_ones_keys(running: Platform) -> None:
    """In Redis a service reads and writes only keys that begin with its name, and can't do what concerns all."""
    client = redis.Redis.from_url(environment(running, "order-service")["CACHE_URL"])
    client.set("order-service:1", "x", ex=5)
    for forbidden in (
        lambda: client.get("user-service:1"),
        lambda: client.keys("*"),
        client.flushall,
        lambda: client.config_get("*"),
        lambda: redis.Redis(port=running.state["ports"]["redis"]).ping(),
    ):
        with pytest.raises((redis.exceptions.NoPermissionError, redis.exceptions.AuthenticationError)):
            forbidden()


def test_ps_shows_what_runs(running: Platform) -> None:
    """Each process is there with its id, port and state as the runner wrote them, its uptime and its memory."""
    rows = {row["name"]: row for row in running.json("ps")["processes"]}
    assert {"postgres", "redis", "nats", "gateway", "user-service-web", "user-service-worker"} <= set(rows)
    web, written = rows["user-service-web"], running.process("user-service-web")
    for column in ("pid", "port", "state", "restarts"):
        assert web[column] == written[column]
    assert web["uptime"] > 0
    assert web["memory"] > 10_000_000


def test_a_killed_web_process_is_replaced(running: Platform) -> None:
    """A web process killed with SIGKILL is started anew, leaves no process, and is counted."""
    before = running.process("user-service-web")
    family = [process.pid for process in psutil.Process(before["pid"]).children(recursive=True)]
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: served(running)["pid"] not in family)
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in family))
    after = eventually(lambda: _if_ready(running.process("user-service-web")))
    assert after["restarts"] == before["restarts"] + 1
    assert after["port"] == before["port"]


def test_a_killed_server_process_of_granian_is_replaced(running: Platform) -> None:
    """Also when only the process that granian forked is killed, the service is served again."""
    before = served(running, "/api/orders/")["pid"]
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: served(running, "/api/orders/"))["pid"] != before


@pytest.mark.parametrize("name", ["user-service-worker", "gateway", "redis", "nats", "postgres"])
def test_whatever_is_killed_comes_back(running: Platform, name: str) -> None:
    """A worker, the gateway and each server are back after SIGKILL, and requests are served."""
    before = running.process(name)
    os.kill(before["pid"], signal.SIGKILL)
    after = eventually(lambda: _if_ready(running.process(name), not_pid=before["pid"]))
    assert after["restarts"] == before["restarts"] + 1
    assert eventually(lambda: served(running))["things"] == 1


def test_a_gateway_that_finds_a_stranger_on_its_port(platform: Platform) -> None:
    """It says so, is started anew again and again until the stranger is gone, and then serves."""
    platform.up()
    before, runner = platform.process("gateway"), platform.state["pid"]
    os.kill(runner, signal.SIGSTOP)  # or it would start another one before the stranger is there
    os.kill(before["pid"], signal.SIGKILL)
    with eventually(lambda: _stranger(before["port"])):
        os.kill(runner, signal.SIGCONT)
        reason = "it could not listen on"
        eventually(lambda: platform.process("gateway")["reason"].startswith(reason))
        restarts = platform.process("gateway")["restarts"]
        eventually(lambda: platform.process("gateway")["restarts"] > restarts + 2)
        assert platform.process("gateway")["state"] != "ready"
    eventually(lambda: _if_ready(platform.process("gateway"), not_pid=before["pid"]))
    assert eventually(lambda: served(platform))["things"] == 1


def test_a_killed_watchdog_is_replaced(running: Platform) -> None:
    """Who kills the watchdog finds another one."""
    before = _watchdog(running)
    before.kill()
    assert eventually(lambda: _watchdog(running).pid not in {before.pid, running.state["pid"]})


def test_routes_change_while_it_runs(running: Platform) -> None:
    """A route added to the manifest is served after `reload`; a manifest with a fault changes nothing and says why."""
    manifest = running.root / "bandstand.toml"
    original = manifest.read_text()
    try:
        manifest.write_text(original + '\n[[services.order-service.routes]]\npath = "/api/v1/more"\n')
        assert running.json("reload")["changed"] in {True, False}  # the runner may have seen the file before we asked
        assert served(running, "/api/more/")["service"] == "order-service"
        manifest.write_text(original.replace('calls = ["user-service"]', 'calls = ["user-servce"]'))
        ended = running.run("reload")
        assert ended.returncode == 1
        assert 'did you mean "user-service"?' in ended.stderr
        assert served(running, "/api/more/")
    finally:
        manifest.write_text(original)
        running.run("reload")


def test_no_request_fails_while_routes_change(running: Platform) -> None:
    """Requests without a pause, over connections of their own, are all answered while the routes change three times."""
    manifest = running.root / "bandstand.toml"
    original = manifest.read_text()
    ended = threading.Event()
    answers: list[str] = []

    def ask() -> None:
        while not ended.is_set():
            answers.append(served(running, "/api/orders/")["service"])

    def pass_by() -> None:
        wanted = len(answers) + 10
        eventually(lambda: len(answers) >= wanted or asking.done())

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        try:
            for number in range(3):
                manifest.write_text(original.replace("[gateway]", f"[gateway]\ntimeout = {number + 20}.0"))
                running.run("reload")
                pass_by()
        finally:
            ended.set()
            manifest.write_text(original)
            running.run("reload")
        asking.result()  # raises what a request raised


def test_a_migration_undone_by_hand_is_noticed(running: Platform) -> None:
    """What is noted on a database holds only while its table of applied migrations is the one of then."""
    url = urlsplit(environment(running, "order-service")["DATABASE_URL"])
    login = Login(
        port=url.port or 0, user=url.username or "", password=url.password or "", database=url.path.strip("/")
    )
    assert asyncio.run(read_record(login)).migrated
    assert running.run("exec", "order-service", "python", "manage.py", "migrate", "orders", "zero").returncode == 0
    assert asyncio.run(read_record(login)).migrated == ""
    running.json("migrate", "order-service")
    assert asyncio.run(read_record(login)).migrated


def test_a_command_runs_as_the_service(running: Platform) -> None:
    """`exec` gives a command the service's environment and folder, and its exit status to the shell."""
    program = (
        "import os, sys; from pathlib import Path; print(os.environ['BANDSTAND_SERVICE'], Path.cwd().name); sys.exit(7)"
    )
    ended = running.run("exec", "user-service", "python", "-c", program)
    assert (ended.stdout.split(), ended.returncode) == (["user-service"] * 2, 7)
    shown = running.run("exec", "order-service", "python", "manage.py", "showmigrations", "--plan")
    assert "[X]  orders.0001_initial" in shown.stdout


def test_migrations_run_on_the_running_servers(running: Platform) -> None:
    """`migrate` applies the migrations of one service while the platform runs."""
    assert running.json("migrate", "order-service") == {"migrated": ["order-service"]}
    assert running.json("ps")["running"] is True


def test_logs_are_for_people(running: Platform) -> None:
    """`logs` shows a service's requests as lines with its name; the raw records stay in the file."""
    served(running)
    ended = eventually(lambda: _lines(running.run("logs", "user-service", "-n", "20").stdout, "GET /api/v1/users/"))
    assert "user-service-web" in ended[-1]
    assert " 200 " in ended[-1]
    assert not ended[-1].startswith("{")


def _lines(text: str, wanted: str) -> list[str]:
    return [line for line in text.splitlines() if wanted in line]


def _stranger(port: int) -> socket.socket:
    """Somebody else who listens there."""
    return socket.create_server(("127.0.0.1", port))


def _if_ready(row: Any, *, not_pid: int = 0) -> Any:
    return row if row["state"] == "ready" and row["pid"] != not_pid else None


def _ready_ones(platform: Platform) -> set[str]:
    return {row["name"] for row in platform.state["processes"] if row["state"] == "ready"}


def _watchdog(platform: Platform) -> psutil.Process:
    runner = psutil.Process(platform.state["pid"])
    living = (child for child in runner.children() if child.status() != psutil.STATUS_ZOMBIE)
    return next((child for child in living if any("watchdog.py" in word for word in child.cmdline())), runner)
