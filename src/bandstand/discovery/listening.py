"""Where this process listens: found by looking at its own sockets, so that it is true for every server.

A socket alone proves little: a server's parent opens it before any worker serves, and a process may have others, for
metrics or a debugger. So each is asked for ``/health/live/``, and the one that answers as a service does is it.
"""

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import Final

import msgspec

__all__ = ["Listener", "ask", "find_listener", "own_sockets", "reaching_address"]

_TIMEOUT: Final = 2.0  # seconds


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """An address as it was bound: ``0.0.0.0`` and ``::`` mean all of the machine's."""

    host: str
    port: int

    @property
    def everywhere(self) -> bool:
        return ip_address(self.host).is_unspecified

    @property
    def loopback(self) -> bool:
        return ip_address(self.host).is_loopback

    @property
    def own_url(self) -> str:
        """The URL by which the process itself reaches it."""
        host = self.host
        if self.everywhere:
            host = "127.0.0.1" if ip_address(host).version == 4 else "::1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


Ask = Callable[[str, str, str], tuple[int, str]]


def ask(url: str, path: str, name: str) -> tuple[int, str]:
    """Return the status and the word ``status`` of a probe's answer, or 0 and why there is none."""
    place = url.partition("://")[2]
    connection = HTTPConnection(place, timeout=_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": name, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, _word(answer.read(65536))
    except (OSError, HTTPException) as error:
        return 0, type(error).__name__
    finally:
        connection.close()


def _word(body: bytes) -> str:
    try:
        return str(json.loads(body)["status"])
    except (ValueError, LookupError, TypeError):
        return ""


def own_sockets() -> Iterator[Listener]:
    """Yield where this process listens, also with sockets that it has from its parent."""
    import psutil  # noqa: PLC0415 - comes with the extras of the registries that one registers with

    found = {
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    for host, port in sorted(found):
        yield Listener(host=host, port=port)


def find_listener(
    name: str, sockets: Callable[[], Iterable[Listener]] = own_sockets, ask: Ask = ask
) -> tuple[Listener | None, str]:
    """Return the socket behind which this service answers, or None and, if there are any, why it is none of them."""
    why = ""
    for listener in sockets():
        status, word = ask(listener.own_url, "/health/live/", name)
        if (status, word) == (200, "alive"):
            return listener, ""
        why = f"{listener.own_url}/health/live/ answers {status or 'not at all'} {word}".rstrip()
        if status == 400:
            why += f"; is {name} one of the ALLOWED_HOSTS?"
    return None, why


def reaching_address(host: str, port: int) -> str:
    """Return the address of the interface by which ``host`` is reached.

    Raises:
        OSError: there is no way to it.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)  # sends nothing: it only asks for the route
        return str(probe.getsockname()[0])
