"""How the whole shop starts and ends."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.platform.conftest import BANDSTAND, Client, copy_shop, eventually, processes_of, run
from tests.waiting import GUARD

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_shop(tmp_path_factory.mktemp("lifecycle"))


def port_is_free(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def test_up_serves_keeps_data_and_leaves_nothing(folder: Path) -> None:
    """Detached, killed with -9, started again with its data, ended with Ctrl-C: no process and no port stays behind."""
    said = json.loads(run(folder, "up", "--detach", "--json").stdout)
    assert set(said["services"]) == {"user-service", "product-service", "order-service", "notification-service"}
    client = Client(base=said["gateway"].rstrip("/"))
    email = "kept@example.com"
    account = {"email": email, "username": "kept", "password": "correct-horse-battery"}
    assert client.post("/api/users/", account).status == 201
    runner = json.loads((folder / ".bandstand" / "state.json").read_text())["pid"]
    os.kill(runner, signal.SIGKILL)
    eventually(lambda: not processes_of(folder), what="every process of the killed runner ends")
    for url in (said["gateway"].rstrip("/"), *said["services"].values()):
        assert port_is_free(url.rstrip("/")), url

    output = folder.parent / "up.txt"
    with output.open("w") as sink:
        up = subprocess.Popen([BANDSTAND, "up"], cwd=folder, stdout=sink, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: "/api/docs/" in output.read_text(), what=f"ready: {output.read_text()}")
        signed_in = client.post("/api/users/authenticate/", {"email": email, "password": account["password"]})
        assert signed_in.status == 200, "the account outlived the crash"
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=GUARD) == 0
    finally:
        up.kill()
        up.wait()
    assert processes_of(folder) == []
    assert port_is_free(said["gateway"].rstrip("/"))


def test_down_says_that_nothing_runs(folder: Path) -> None:
    """Stopping what does not run is no error, and says so."""
    down = run(folder, "down")
    assert "not running" in (down.stdout + down.stderr).lower()
