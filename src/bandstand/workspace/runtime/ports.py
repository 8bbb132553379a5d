"""Free ports on the loopback address, the same ones at the next start when nobody took them meanwhile.

Seconds pass between the choice of a port and the moment when its server listens, and again whenever that server is
started anew. granian binds with ``SO_REUSEPORT``, so two platforms that chose the same port would not fail: they would
share it, and each would get some of the other's requests. So a run reserves its ports until it ends.
"""

import random
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from typing import Final

from bandstand.exceptions import WorkspaceError

__all__ = ["LOOPBACK", "Reservations", "choose_ports", "free_port", "is_free", "next_free"]

LOOPBACK: Final = "127.0.0.1"
# Below the range from which Linux and macOS take the ports of outgoing connections, which could grab a port in the
# moment between the choice and the server's own bind.
_RANGE: Final = range(20_000, 30_000)


class Reservations:
    """The ports that one run has for itself, for a ``with`` block.

    It holds the UDP port of the same number, which no server of ours uses: the kernel gives that to one process alone,
    and takes it back from a process that ends, however it does.
    """

    def __init__(self) -> None:
        self._holders: dict[int, socket.socket] = {}

    def __enter__(self) -> "Reservations":
        return self

    def __exit__(self, *_: object) -> None:
        for port in list(self._holders):
            self.release(port)

    def take(self, port: int) -> bool:
        """Reserve ``port`` if it is free; return whether it was."""
        holder = _reserved(port)
        if holder is None:
            return False
        if not _may_listen(port):
            holder.close()
            return False
        self._holders[port] = holder
        return True

    def release(self, port: int | None) -> None:
        """Give ``port`` back, if it is one of ours."""
        if port in self._holders:
            self._holders.pop(port).close()


def is_free(port: int) -> bool:
    """Return whether ``port`` of the loopback address is free: no process listens there, and no run has reserved it."""
    with Reservations() as reservations:
        return reservations.take(port)


def _reserved(port: int) -> socket.socket | None:
    holder = socket.socket(type=socket.SOCK_DGRAM)
    try:
        holder.bind((LOOPBACK, port))
    except OSError:
        holder.close()
        return None
    return holder


def _may_listen(port: int) -> bool:
    with closing(socket.socket()) as server:
        # As servers do, so that connections of an earlier run in TIME_WAIT do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
            server.listen(1)
        except OSError:
            return False
    with closing(socket.socket()) as client:  # macOS lets a bind pass beside a listener on all addresses
        client.settimeout(0.2)
        return client.connect_ex((LOOPBACK, port)) != 0


def choose_ports(
    names: Iterable[str], earlier: Mapping[str, int], *, free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """Choose a port for each name: the ``earlier`` one when it is free, else another. ``free`` may reserve it, too."""
    chosen: dict[str, int] = {}
    for name in names:
        port = earlier.get(name)
        if port is None or port in chosen.values() or not free(port):
            port = free_port(taken={*chosen.values(), *earlier.values()}, free=free)
        chosen[name] = port
    return chosen


def next_free(wanted: int, *, taken: Iterable[int] = (), free: Callable[[int], bool] = is_free) -> int:
    """Return ``wanted``, or the first free port after it."""
    excluded = set(taken)
    for port in range(wanted, min(wanted + 1000, 65_536)):
        if port not in excluded and free(port):
            return port
    raise WorkspaceError(
        f"No port from {wanted} on is free on {LOOPBACK}.", hint="Choose another gateway.port in bandstand.toml."
    )


def free_port(*, taken: Collection[int] = (), free: Callable[[int], bool] = is_free) -> int:
    """Return a free port that is none of ``taken``."""
    for port in random.sample(_RANGE, 200):
        if port not in taken and free(port):
            return port
    raise WorkspaceError(
        f"No free port was found between {_RANGE.start} and {_RANGE.stop} on {LOOPBACK}.",
        hint="End processes that listen there, then try again.",
    )
