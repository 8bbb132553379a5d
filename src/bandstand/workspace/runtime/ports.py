"""Free ports on the loopback address, the same ones at the next start when nobody took them meanwhile."""

import random
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from typing import Final

from bandstand.exceptions import WorkspaceError

__all__ = ["LOOPBACK", "choose_ports", "free_port", "is_free", "next_free"]

LOOPBACK: Final = "127.0.0.1"
# Below the range from which Linux and macOS take the ports of outgoing connections, which could grab a port in the
# moment between the choice and the server's own bind.
_RANGE: Final = range(20_000, 30_000)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port`` of the loopback address now."""
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
    """Choose a port for each name: the ``earlier`` one when it is free, else another."""
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
