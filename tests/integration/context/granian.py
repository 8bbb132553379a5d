"""The real server that runs services: granian in WSGI mode, started on a free port with its log in a file."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from tests.ports import give_back, held_port
from tests.waiting import GUARD, until

ROOT = Path(__file__).resolve().parents[3]


class Granian:
    """One granian with one worker and its application."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = held_port()
        self.log = folder / "granian.log"
        # fmt: off
        command = [
            sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--workers", "1",
            "--blocking-threads", "8", "--workers-kill-timeout", "15", "--host", "127.0.0.1", "--port", str(self.port),
            "tests.integration.context.service:application",
        ]
        # fmt: on
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT
            )

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=GUARD)

    def get(self, path: str, **headers: str) -> HTTPResponse:
        """Ask on a connection of its own; the body can be read after."""
        connection = self.connect()
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        connection.close()
        return response

    def raw(self, head: bytes) -> bytes:
        """Send bytes as they are and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=GUARD) as connection:
            connection.sendall(head)
            received = b""
            while part := connection.recv(65536):
                received += part
            return received

    def accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=GUARD).close()
        except OSError:
            return False
        return True

    def lines(self, logger: str | None = None) -> list[dict[str, Any]]:
        """The JSON lines of the log; what granian itself says is left out."""
        decoded = [json.loads(line) for line in self.log.read_text().splitlines() if not line.startswith("[")]
        return [line for line in decoded if logger in (None, line["logger"])]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Granian]:
    """Start granian, wait until it answers, and leave no process behind."""
    server = Granian(folder, **environment)
    try:
        until(lambda: server.accepts() or server.process.poll() is not None, f"granian: {server.log}")
        assert server.process.poll() is None, server.log.read_text()
        assert server.get("/health/live/").status == 200
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(GUARD)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        give_back(server.port)
