"""The service of this folder under granian, as every service runs."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec

from tests.ports import held_port
from tests.waiting import GUARD, until

ROOT = Path(__file__).resolve().parents[3]
MODULE = "tests.integration.api.service"


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Web:
    """One granian with one worker."""

    module = MODULE

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.port = held_port()
        self.process: subprocess.Popen[bytes] | None = None

    def migrate(self) -> None:
        subprocess.run([sys.executable, "-m", self.module, "migrate"], env=self.environment, cwd=ROOT, check=True)

    def start(self) -> None:
        # fmt: off
        command = [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--workers", "1",
            "--blocking-threads", "8", "--backpressure", "64", "--workers-kill-timeout", "5", "--host", "127.0.0.1",
            "--port", str(self.port), f"{self.module}:application",
        ]
        # fmt: on
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        self.wait()

    def wait(self) -> None:
        until(self.lives, "the service", evidence=lambda: self.log.read_text()[-3000:])

    def lives(self) -> bool:
        with suppress(OSError):
            return self.ask("GET", "/health/live/").status == 200
        return False

    def revive(self) -> None:
        """Start it again after its worker has died, with which it ends itself."""
        assert self.process is not None
        self.process.wait(GUARD)
        self.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, chunked: bool = False
    ) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2 * GUARD)
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        data = None if body is None else ((body[i : i + 7000] for i in range(0, len(body), 7000)) if chunked else body)
        try:
            connection.request(method, path, data, sent, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are and return what comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2 * GUARD) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            received = b""
            with suppress(ConnectionError):
                while part := connection.recv(65536):
                    received += part
            return received


@contextmanager
def running(log: Path, **environment: str) -> Iterator[Web]:
    """Start it on a database that is migrated, and leave no process behind."""
    web = Web(log, **environment)
    try:
        web.start()
        yield web
    finally:
        web.stop()
