"""The servers that the tests of brokers and registries build on start privately, speak, and leave nothing behind."""

import json
import socket
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bandstand.testing import require_server
from tests.integration.optional.servers import accepts, consul, rabbitmq

pytestmark = pytest.mark.integration


def living(folder: Path) -> list[psutil.Process]:
    """Return the processes whose environment mentions ``folder``."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.AccessDenied, psutil.NoSuchProcess):  # other people's, and those that end meanwhile
            if str(folder) in str(process.environ()):
                found.append(process)
    return found


def test_rabbitmq_speaks_amqp_and_leaves_nothing(tmp_path: Path) -> None:
    """A private RabbitMQ answers the AMQP 0-9-1 greeting; afterwards neither it nor its port mapper runs."""
    with rabbitmq(tmp_path) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            frame = connection.recv(11)
        method_frame, connection_start = frame[0], frame[7:11]
        assert method_frame == 1
        assert connection_start == b"\x00\x0a\x00\x0a"
    assert not accepts(port)
    assert living(tmp_path) == []


def test_consul_registers_and_finds(tmp_path: Path) -> None:
    """A private Consul takes a registration and tells it to the next who asks."""
    with consul(tmp_path) as agent:
        url = agent.url
        body = json.dumps({"Name": "user-service", "Address": "127.0.0.1", "Port": 8001}).encode()
        request = urllib.request.Request(f"{url}/v1/agent/service/register", data=body, method="PUT")
        assert urllib.request.urlopen(request, timeout=5).status == 200
        with urllib.request.urlopen(f"{url}/v1/health/service/user-service", timeout=5) as answer:
            assert json.load(answer)[0]["Service"]["Port"] == 8001


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("x,nowhere", pytest.fail.Exception)])
def test_a_missing_server_skips_or_fails(monkeypatch: pytest.MonkeyPatch, required: str, outcome: type) -> None:
    """Without a server its tests skip and say how to get it; where it is required they fail."""
    monkeypatch.setenv("BANDSTAND_TEST_REQUIRE", required)
    with pytest.raises(outcome, match="how to get it"):
        require_server("nowhere", found=False, how="This is how to get it.")
