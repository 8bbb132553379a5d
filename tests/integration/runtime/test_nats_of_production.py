"""NATS as Compose runs it."""

import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from bandstand.workspace.manifest import parse
from bandstand.workspace.runtime import write_secrets
from bandstand.workspace.runtime.wheels import find_nats
from tests.ports import held_port
from tests.waiting import GUARD, until

pytestmark = pytest.mark.integration

SHOP = """
[platform]
name = "shop"

[production]
broker = "nats"

[services.user-service]
"""


def test_nats_starts_on_what_is_made_for_it(tmp_path: Path) -> None:
    """The file among the secrets is one that the server takes, with JetStream on; only places and ports are others."""
    write_secrets(parse(SHOP), tmp_path / "secrets")
    text, monitoring = (tmp_path / "secrets" / "nats" / "nats.conf").read_text(), held_port()
    for written, here in (("/data", str(tmp_path / "data")), ("0.0.0.0:4222", f"127.0.0.1:{held_port()}")):
        assert f'"{written}"' in text
        text = text.replace(f'"{written}"', f'"{here}"')
    (tmp_path / "nats.conf").write_text(text.replace("127.0.0.1:8222", f"127.0.0.1:{monitoring}"))
    command = [str(find_nats()), "--config", str(tmp_path / "nats.conf")]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            assert _health(monitoring, server) == b'{"status":"ok"}', (tmp_path / "log").read_text()
        finally:
            server.terminate()


def _health(port: int, server: subprocess.Popen[bytes]) -> bytes:
    """What the health check of the container asks, as soon as there is an answer; or that the server has ended."""

    def answer() -> bytes | None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=GUARD) as answer:
                return bytes(answer.read())
        except OSError:
            return None if server.poll() is None else b"(it has ended)"

    return until(answer, "an answer") or b""
