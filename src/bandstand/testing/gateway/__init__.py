"""How a gateway of a platform behaves, whichever program it is: all that these tests know of it is its address.

Subclass :class:`GatewayConformance`, and give it a gateway that was rendered from :data:`MANIFEST`::

    class TestMyGateway(GatewayConformance):
        @pytest.fixture
        def gateway(self, my_gateway: GatewayUnderTest) -> GatewayUnderTest:
            return my_gateway

- ``base``: the manifest, the gateway under test, and the traits that a gateway may lack by documentation.
- ``routing``, ``requests``, ``origins``, ``limits``, ``proxies``, ``failures``: the rules, one test each.
- ``client``, ``upstream``: requests as bytes, and services that misbehave when asked to.
- ``elsewhere``: services for a gateway that somebody else started, on addresses that it can be told of.
"""

from bandstand.testing.gateway.base import MANIFEST, ORIGIN, SIZE_LIMIT, GatewayUnderTest, Trait
from bandstand.testing.gateway.client import Answer, GatewayClient
from bandstand.testing.gateway.conformance import GatewayConformance
from bandstand.testing.gateway.elsewhere import ADDRESSES, SERVICE_PORT, gateway_elsewhere
from bandstand.testing.gateway.upstream import Upstream

__all__ = [
    "ADDRESSES",
    "MANIFEST",
    "ORIGIN",
    "SERVICE_PORT",
    "SIZE_LIMIT",
    "Answer",
    "GatewayClient",
    "GatewayConformance",
    "GatewayUnderTest",
    "Trait",
    "Upstream",
    "gateway_elsewhere",
]
