"""All rules together."""

from bandstand.testing.gateway.failures import FailureConformance
from bandstand.testing.gateway.limits import RateLimitConformance, SizeConformance
from bandstand.testing.gateway.origins import OriginConformance
from bandstand.testing.gateway.proxies import ProxyConformance
from bandstand.testing.gateway.requests import CorrelationConformance, RequestConformance
from bandstand.testing.gateway.routing import RoutingConformance

__all__ = ["GatewayConformance"]


class GatewayConformance(
    RoutingConformance,
    RequestConformance,
    CorrelationConformance,
    OriginConformance,
    RateLimitConformance,
    ProxyConformance,
    SizeConformance,
    FailureConformance,
):
    """What every gateway of a platform does. Override the fixture ``gateway``."""
