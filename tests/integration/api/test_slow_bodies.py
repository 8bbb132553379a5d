"""Tests that clients which never finish their bodies occupy only some of the request threads."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.integration.servers import Postgres
from tests.waiting import GUARD, until

from .web import Web, running

pytestmark = pytest.mark.integration

THREADS = 8
CONNECTIONS = 100
KINDS = (
    b"Content-Type: application/json\r\nContent-Length: 100000",
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked",
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000",
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000",
    b"Content-Type: application/octet-stream\r\nContent-Length: 100000",
)
PATHS = (b"/api/v1/reading/", b"/api/v1/groups/", b"/api/v1/orders/", b"/health/live/", b"/nowhere/")


class SlowClients:
    """Connections that each send one byte a second and never finish."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self.connections: list[socket.socket] = []
        for number in range(CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2 * GUARD))
            kind, path = KINDS[number % len(KINDS)], PATHS[number // len(KINDS) % len(PATHS)]
            connection.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + kind + b"\r\n\r\n")
            connection.sendall(b"1\r\n[\r\n" if b"chunked" in kind else b"[")
            connection.setblocking(False)
            self.connections.append(connection)
        self.refused: set[int] = set()
        self._ended = Event()
        self._thread = Thread(target=self._drip)
        self._thread.start()
        stack.callback(self._thread.join, GUARD)
        stack.callback(self._ended.set)

    def _drip(self) -> None:
        while not self._ended.wait(1.0):
            for number, connection in enumerate(self.connections):
                with suppress(OSError):  # nothing came
                    if b" 503 " in connection.recv(4096)[:20]:
                        self.refused.add(number)
                with suppress(OSError):  # it was refused and closed
                    connection.send(b"1\r\n \r\n" if b"chunked" in KINDS[number % len(KINDS)] else b" ")


@contextmanager
def attacked(log: Path, postgres: Postgres, threads: int) -> Iterator[tuple[Web, SlowClients]]:
    with running(log, DATABASE_URL=postgres.url(), THREADS=str(threads)) as web, ExitStack() as stack:
        assert web.ask("GET", "/api/v1/groups/").status == 200, "warm"
        yield web, SlowClients(web.port, stack)


def test_requests_without_a_body_are_answered(postgres: Postgres, tmp_path: Path) -> None:
    """With 100 slow connections, every read and every probe is answered, and most slow requests are refused."""
    with attacked(tmp_path / "log", postgres, THREADS) as (web, clients), ThreadPoolExecutor(4) as asking:
        paths = ["/api/v1/groups/", "/health/live/"] * 50
        answers = list(asking.map(lambda path: web.ask("GET", path).status, paths))
        assert answers == [200] * 100
        until(lambda: len(clients.refused) == CONNECTIONS - THREADS // 2, "the others are refused")
        assert web.ask("GET", "/health/live/").status == 200
        assert web.ask("POST", "/api/v1/reading/", {"a": 1}).status == 503, "it is told to come again"


def test_tooth_without_the_limit_nothing_is_answered(postgres: Postgres, tmp_path: Path) -> None:
    """If every thread may wait for a body, a probe is answered only after the slow clients have disconnected."""
    probed = Event()
    with attacked(tmp_path / "log", postgres, 2 * CONNECTIONS) as (web, clients):
        probe = Thread(target=lambda: web.ask("GET", "/health/live/").status == 200 and probed.set())
        probe.start()
        assert not probed.wait(5.0)
        for connection in clients.connections:
            connection.close()
        assert probed.wait(GUARD)
        probe.join(GUARD)
