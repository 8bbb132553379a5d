"""Services for a gateway that somebody else started: each on an address of its own, all on the port of production.

The gateway must find them by their names, so it is told these addresses as its hosts file.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from bandstand.testing.gateway.base import GatewayUnderTest
from bandstand.testing.gateway.client import GatewayClient
from bandstand.testing.gateway.upstream import Upstream

__all__ = ["ADDRESSES", "SERVICE_PORT", "gateway_elsewhere"]

SERVICE_PORT: Final = 8000
# Nothing listens for gone-service.
ADDRESSES: Final[Mapping[str, str]] = {
    "user-service": "127.0.0.11",
    "half-service": "127.0.0.11",
    "order-service": "127.0.0.12",
    "sick-service": "127.0.0.13",
    "gone-service": "127.0.0.14",
}


@contextmanager
def gateway_elsewhere(url: str) -> Iterator[GatewayUnderTest]:
    """Run the services for the gateway at ``url`` while the context lasts."""
    with ExitStack() as stack:
        users, orders, _ = (
            stack.enter_context(Upstream(name, host=ADDRESSES[service], port=SERVICE_PORT, status=status))
            for name, service, status in (
                ("users", "user-service", 200),
                ("orders", "order-service", 200),
                ("sick", "sick-service", 503),
            )
        )
        yield GatewayUnderTest(client=GatewayClient(url), users=users, orders=orders)
