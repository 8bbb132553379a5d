import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bandstand.testing import Fault, FaultProxy
from tests.ports import held_port

pytestmark = pytest.mark.integration


class Echo:
    """A server that answers each line with itself, and ``big`` with 100 kB."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lines: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            for line in stream:
                self.lines.append(line)
                connection.sendall(b"x" * 100_000 if line == b"big\n" else line)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with FaultProxy(port=echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connect(proxy) as client:
        yield client


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.listening), timeout=5)


def ask(client: socket.socket, line: bytes = b"hello\n") -> bytes:
    client.sendall(line)
    return client.recv(1000)


def test_without_a_fault_everything_passes(client: socket.socket, proxy: FaultProxy) -> None:
    """Bytes go through both ways, many times, and the end of one side reaches the other."""
    assert [ask(client) for _ in range(3)] == [b"hello\n"] * 3
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert proxy.accepted == 1


def test_latency(client: socket.socket, proxy: FaultProxy) -> None:
    """An answer comes later, also on a connection that was open before, and only while the fault lasts."""
    assert ask(client) == b"hello\n"
    proxy.fault = Fault(latency=0.3)
    began = time.monotonic()
    assert ask(client) == b"hello\n"
    assert time.monotonic() - began >= 0.3
    proxy.heal()
    assert ask(client) == b"hello\n"


def test_a_black_hole_takes_everything_and_says_nothing(client: socket.socket, proxy: FaultProxy, echo: Echo) -> None:
    """Nothing reaches the target, and nothing comes back: no answer, no end."""
    proxy.fault = Fault(black_hole=True)
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ask(client)
    assert echo.lines == []


def test_reset(client: socket.socket, proxy: FaultProxy) -> None:
    """The connection ends with RST as soon as something is sent."""
    proxy.fault = Fault(reset=True)
    with pytest.raises(ConnectionResetError):
        ask(client)


def test_down_and_up_again(client: socket.socket, proxy: FaultProxy) -> None:
    """While it is down connections are refused and open ones end; afterwards it listens at the same place."""
    assert ask(client) == b"hello\n"
    with proxy.down():
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
    with connect(proxy) as again:
        assert ask(again) == b"hello\n"


def test_cut(client: socket.socket, proxy: FaultProxy) -> None:
    """Open connections end, new ones are accepted."""
    assert ask(client) == b"hello\n"
    proxy.cut()
    assert client.recv(1) == b""
    with connect(proxy) as again:
        assert ask(again) == b"hello\n"


def test_limit(client: socket.socket, proxy: FaultProxy) -> None:
    """After so many bytes of answers the connection breaks."""
    proxy.fault = Fault(limit=8)
    assert ask(client) == b"hello\n"
    client.sendall(b"world\n")
    received = b""
    with suppress(ConnectionResetError):
        while part := client.recv(100):
            received += part
    assert len(received) <= 2


def test_bandwidth(client: socket.socket, proxy: FaultProxy) -> None:
    """A large answer takes as long as the bandwidth says, and arrives whole."""
    proxy.fault = Fault(bandwidth=200_000)
    began = time.monotonic()
    client.sendall(b"big\n")
    received = 0
    while received < 100_000:
        received += len(client.recv(65536))
    assert time.monotonic() - began >= 0.4
    assert received == 100_000


def test_slow_close(client: socket.socket, proxy: FaultProxy) -> None:
    """The end of one side reaches the other late."""
    proxy.fault = Fault(slow_close=0.3)
    began = time.monotonic()
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    assert time.monotonic() - began >= 0.3


def test_a_target_that_is_away_is_a_broken_connection() -> None:
    """Behind the proxy nobody listens: the connection ends at once."""
    # The reset may come while the client still waits for its connection.
    with FaultProxy(port=held_port()) as proxy, suppress(ConnectionResetError), connect(proxy) as client:
        assert client.recv(1) == b""
