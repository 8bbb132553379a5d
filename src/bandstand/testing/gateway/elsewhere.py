"""Services for a gateway that somebody else started: each on an address of its own, all on the port of production.

The gateway must find them by their names, so it is told these addresses as its hosts file.
"""

import time
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

# What the gateway answers once its checks have found who is well, and for how many seconds it may look for them.
_SETTLED: Final = {"/api/users/": 200, "/api/halves/": 200, "/api/orders/": 200, "/api/sick/": 503, "/api/gone/": 503}
_PATIENCE: Final = 20.0


@contextmanager
def gateway_elsewhere(url: str) -> Iterator[GatewayUnderTest]:
    """Run the services for the gateway at ``url`` while the context lasts.

    Raises TimeoutError if the gateway has not found them after 20 seconds.
    """
    with ExitStack() as stack:
        users, orders, _ = (
            stack.enter_context(Upstream(name, host=ADDRESSES[service], port=SERVICE_PORT, status=status))
            for name, service, status in (
                ("users", "user-service", 200),
                ("orders", "order-service", 200),
                ("sick", "sick-service", 503),
            )
        )
        client = GatewayClient(url)
        _settle(client)
        yield GatewayUnderTest(client=client, users=users, orders=orders)


def _settle(client: GatewayClient) -> None:
    """Wait until the gateway knows who is well: it was started before these services."""
    deadline = time.monotonic() + _PATIENCE
    while (found := {path: client.get(path).status for path in _SETTLED}) != _SETTLED:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"The gateway at {client.authority} answers {found}, and not {dict(_SETTLED)}. "
                "Was it rendered from MANIFEST, and told the addresses of the services?"
            )
        time.sleep(0.2)
