"""What the first call of a process would wait for: the library of the transport, and who serves what."""

from contextlib import suppress

from bandstand.client.clients import services_with_clients
from bandstand.client.transports import transport
from bandstand.discovery import instances
from bandstand.exceptions import DiscoveryError

__all__ = ["warm_up"]


def warm_up() -> None:
    """Load the transport, and let discovery learn who serves what, for all services that have a client.

    A service that nobody serves yet does not matter here; discovery hears of it when somebody does.
    """
    transport()
    for service in sorted(services_with_clients()):
        with suppress(DiscoveryError):
            instances(service)
