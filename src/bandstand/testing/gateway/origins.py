"""Which pages of other origins may ask and read."""

from typing import Final

import pytest

from bandstand.conf import wire
from bandstand.testing.gateway.base import ORIGIN, GatewayRules, GatewayUnderTest
from bandstand.testing.gateway.client import Answer

__all__ = ["OriginConformance"]

# What services send beside the body, and what a page needs in order to act on it.
_READ: Final = frozenset(
    {
        *(wire.CORRELATION_ID, wire.IDEMPOTENCY_REPLAYED, wire.RATE_LIMIT, wire.RATE_LIMIT_POLICY),
        *("Allow", "ETag", "Location", "Retry-After", "WWW-Authenticate"),
    }
)


class OriginConformance(GatewayRules):
    """Which pages of other origins may ask and read."""

    def preflight(self, gateway: GatewayUnderTest, origin: str) -> Answer:
        """Ask as a browser does before it sends what a page of ``origin`` wants."""
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,idempotency-key",
        }
        return gateway.client.request("OPTIONS", "/api/users/", headers=headers)

    def test_a_preflight_of_a_named_origin_is_answered(self, gateway: GatewayUnderTest) -> None:
        """The gateway answers for the service, and names what clients need."""
        answer = self.preflight(gateway, ORIGIN)
        assert answer.status in {200, 204}
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "POST" in answer.headers["access-control-allow-methods"]
        for name in ("authorization", "content-type", "idempotency-key", "x-correlation-id"):
            assert name in answer.headers["access-control-allow-headers"].lower()

    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "null", "http://shop.example", f"{ORIGIN}.evil.example", "https://shop.example:3000"],
    )
    def test_a_preflight_of_another_origin_is_not_allowed(self, gateway: GatewayUnderTest, origin: str) -> None:
        """An origin that is not named gets no permission, and the service is not asked."""
        answer = self.preflight(gateway, origin)
        assert "access-control-allow-origin" not in answer.headers
        assert b"service" not in answer.body

    def test_an_answer_tells_the_named_origin_that_it_may_read(self, gateway: GatewayUnderTest) -> None:
        """Problems may be read too, or a browser could not show them."""
        for path in ("/api/users/", "/api/gone/"):
            answer = gateway.client.get(path, headers={"Origin": ORIGIN})
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].lower().split(",")}
            assert exposed >= {name.lower() for name in _READ}
            assert "access-control-allow-credentials" not in answer.headers

    @pytest.mark.parametrize("origin", ["http://evil.example", "null"])
    def test_an_answer_tells_no_other_origin(self, gateway: GatewayUnderTest, origin: str) -> None:
        """A browser keeps the answer from a page of another origin."""
        assert (
            "access-control-allow-origin" not in gateway.client.get("/api/users/", headers={"Origin": origin}).headers
        )
