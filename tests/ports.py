"""Ports for the servers of tests, which no other test run gets as long as this process has them.

Between the choice of a port and the moment when its server listens there are seconds, and again when a test starts the
server anew. granian would even share a port with the one of another run, which then gets half of its requests.
"""

from typing import Final

from bandstand.workspace.runtime.ports import Reservations, free_port, is_free

__all__ = ["give_back", "guarded_port", "held_port"]

_held: Final = Reservations()

_ABOVE: Final = 10_000
_EPHEMERAL: Final = 32_768  # where Linux begins to take the ports of outgoing connections from


def held_port() -> int:
    """Return a port for a server that listens on TCP alone, or for nobody; it is held until it is given back."""
    return free_port(free=_held.take)


def guarded_port() -> int:
    """Return a port for a server that takes the UDP port of its number itself, so that this can't hold it.

    Consul does for two of its protocols, and so does ``bandstand up``. What is held in its place is the number that is
    10,000 lower, so only those who ask here keep away from it; ``held_port()`` and ``bandstand up`` choose lower ones.
    """
    return free_port(free=_take_guard) + _ABOVE


def give_back(port: int) -> None:
    """Let others have the port, once its server has ended."""
    _held.release(port)
    _held.release(port - _ABOVE)


def _take_guard(guard: int) -> bool:
    port = guard + _ABOVE
    if port >= _EPHEMERAL or not _held.take(guard):
        return False
    if is_free(port):
        return True
    _held.release(guard)
    return False
