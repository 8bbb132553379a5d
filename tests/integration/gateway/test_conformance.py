"""The rules of a gateway, on every gateway that a platform may have."""

import os
from collections.abc import Iterator

import pytest

from bandstand.testing.gateway import GatewayConformance, GatewayUnderTest, Trait, gateway_elsewhere

pytestmark = pytest.mark.integration

KONG_URL = os.environ.get("KONG_URL", "")


class TestEnvoyOfUp(GatewayConformance):
    """The gateway on a laptop."""

    @pytest.fixture
    def gateway(self, gateway_of_up: GatewayUnderTest) -> GatewayUnderTest:
        return gateway_of_up


class TestEnvoyOfProduction(GatewayConformance):
    """The same, as it is deployed."""

    @pytest.fixture
    def gateway(self, gateway_of_production: GatewayUnderTest) -> GatewayUnderTest:
        return gateway_of_production


@pytest.fixture(scope="session")
def kong() -> Iterator[GatewayUnderTest]:
    with gateway_elsewhere(KONG_URL) as gateway:
        yield gateway


class KongRules(GatewayConformance):
    """A Kong with the rendered files; what it lacks is on the page about it."""

    lacks = frozenset(Trait) - {Trait.REFUSES_UPGRADES, Trait.HIDES_SERVERS}

    @pytest.fixture
    def gateway(self, kong: GatewayUnderTest) -> GatewayUnderTest:
        return kong


if KONG_URL:
    TestKong = KongRules
else:

    def test_kong() -> None:
        """One skip for all of its rules."""
        pytest.skip("KONG_URL names no Kong. To run these tests: docs/explanation/kong.md")
