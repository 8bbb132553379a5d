"""HTTP servers on real sockets that do what a test says, byte by byte, and remember what reached them."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

__all__ = ["BlackHole", "Received", "Server", "http", "reset"]


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request. ``connection`` and ``turn`` count from 1: the third request of the second connection is (2, 3)."""

    connection: int
    turn: int
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


Behaviour = Callable[[Received, socket.socket], bool | None]


def http(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """Write an answer with a length, so that the connection stays open."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> bool:
    """End the connection with RST instead of FIN, as the kernel does for a process that was killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@dataclass
class Server:
    """Answers each request with ``behave(received, connection)``, which sends what it likes; False ends the connection.

    ``with Server(...) as server`` ends all its threads and connections.
    """

    behave: Behaviour
    requests: list[Received] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._connections = 0

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(5)

    def stop(self) -> None:
        """Accept nothing more and cut every connection."""
        with self._lock:
            shut(self._listener)
            for connection in self._open:
                shut(connection)

    @property
    def connections(self) -> int:
        return self._connections

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with self._lock:
                    self._connections += 1
                    self._open.add(connection)
                    number = self._connections
                self._start(self._serve, connection, number)

    def _serve(self, plain: socket.socket, number: int) -> None:
        try:
            connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            with plain, connection, connection.makefile("rb") as stream:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                turn = 0
                while line := stream.readline().decode().strip():
                    turn += 1
                    headers = dict(_header(raw) for raw in iter(stream.readline, b"\r\n"))
                    body = stream.read(int(headers.get("content-length", "0")))
                    received = Received(connection=number, turn=turn, line=line, headers=headers, body=body)
                    self.requests.append(received)
                    if self.behave(received, connection) is False:
                        return
        except OSError:  # the other side went away, or the test is over
            plain.close()
        finally:
            with self._lock:
                self._open.discard(plain)


class BlackHole:
    """An address where nobody answers the first packet: a listener whose queue is full drops it, as a firewall does."""

    def __enter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{address[1]}"
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._fillers):
            each.close()


def shut(each: socket.socket) -> None:
    """Wake whoever waits on this socket, and let them close it."""
    with suppress(OSError):  # was shut already
        each.shutdown(socket.SHUT_RDWR)


def _header(raw: bytes) -> tuple[str, str]:
    name, _, value = raw.decode("latin-1").partition(":")
    return name.lower(), value.strip()
