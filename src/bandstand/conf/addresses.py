"""The addresses of this machine or container."""

import socket
from ipaddress import ip_address

__all__ = ["own_addresses"]


def own_addresses() -> tuple[str, ...]:
    """Return the addresses by which others reach this host, as they stand in a Host header; none if it has no name."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    addresses = {str(entry[4][0]).partition("%")[0] for entry in found}
    return tuple(f"[{each}]" if ip_address(each).version == 6 else each for each in sorted(addresses))
