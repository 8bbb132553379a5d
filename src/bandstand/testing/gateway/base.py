"""A gateway under test: what it stands before, what is expected of it, and what it is known to lack."""

import re
from collections.abc import Collection
from enum import StrEnum
from typing import Final, NoReturn

import msgspec
import pytest

from bandstand.testing.gateway.client import Answer, GatewayClient
from bandstand.testing.gateway.upstream import Upstream

__all__ = ["MANIFEST", "ORIGIN", "PROXIES", "SIZE_LIMIT", "GatewayRules", "GatewayUnderTest", "Trait"]

ORIGIN: Final = "http://shop.example:3000"
# Load balancers before the gateway: a client with one of these addresses is believed.
PROXIES: Final = ("127.0.0.8", "127.0.0.10")
SIZE_LIMIT: Final = 1_048_576  # bytes of a body

# By minute and hour. A test that counts requests relies on the hour, whose allowance does not grow while it runs.
_LIMITED: Final = {
    "by-minute": (5, 1000),
    "by-hour": (5, 5),
    "shared": (6, 6),
    "spoofed": (5, 5),
    "counted": (5, 5),
    "per-address": (2, 2),
    "proxied": (2, 2),
    "behind-proxies": (2, 2),
    "no-proxy": (2, 2),
    "ipv6": (2, 2),
    "mapped": (2, 2),
    "forged-mapped": (2, 2),
}

MANIFEST: Final = f"""
[platform]
name = "shop"

[gateway]
cors_origins = ["{ORIGIN}", "https://admin.example"]
rate_limit = {{ minute = 100000, hour = 1000000 }}
timeout = 2.0
trusted_proxies = ["{PROXIES[0]}/32", "{PROXIES[1]}/31"]

[services.user-service]

[[services.user-service.routes]]
path = "/api/v1/users"

[[services.user-service.routes]]
path = "/.well-known/jwks.json"

[[services.user-service.routes]]
path = "/api/auth/"

[services.order-service]

[[services.order-service.routes]]
path = "/api/v1/orders"

[services.half-service]

[[services.half-service.routes]]
path = "/api/v1/halves"

[services.sick-service]

[[services.sick-service.routes]]
path = "/api/v1/sick"

[services.gone-service]

[[services.gone-service.routes]]
path = "/api/v1/gone"
""" + "".join(
    f"""
[[services.order-service.routes]]
path = "/api/v1/orders/{name}"
rate_limit = {{ minute = {minute}, hour = {hour} }}
"""
    for name, (minute, hour) in _LIMITED.items()
)


class Trait(StrEnum):
    """What one gateway does beyond what every gateway of a platform must do."""

    PROBLEMS = "errors of the gateway itself are problem documents"
    ONE_FORM_OF_CORRELATION_ID = "a correlation id of another form is replaced"
    DROPS_FORWARDED_FOR = "what a client says in X-Forwarded-For is dropped"
    COUNTS_IPV6_NETWORKS = "IPv6 addresses are counted by their /64 network"
    HEADER_LIMITS = "16 kB and 60 headers are the most"
    STRICT_PARSING = "what two parsers might read in two ways is refused"
    REFUSES_UPGRADES = "WebSockets and other upgrades are refused"
    HIDES_SERVERS = "the Server header of a service is replaced"
    SECOND_INSTANCE = "half-service has a second instance, which refuses connections"


class GatewayUnderTest(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway rendered from :data:`MANIFEST`, and the services behind it, which are the test's own.

    ``users`` and ``orders`` are one instance each; half-service is a second name of ``users``, and best has another
    instance that refuses connections; sick-service has one that is not ready, gone-service none.
    """

    client: GatewayClient
    users: Upstream
    orders: Upstream


class GatewayRules:
    """What the classes of rules share. ``gateway`` is a fixture that you override."""

    lacks: Collection[Trait] = ()
    """Traits that this gateway is documented not to have; the tests that need one are skipped with it as the reason."""

    @pytest.fixture
    def gateway(self) -> GatewayUnderTest:
        return self._must_override()

    def needs(self, trait: Trait) -> None:
        """Skip the test on a gateway that lacks ``trait``."""
        if trait in self.lacks:
            pytest.skip(f"not with this gateway: {trait}")

    def assert_problem(self, answer: Answer, status: int, code: str) -> None:
        """Check an error of the gateway itself: its status and, if it can have them, its words."""
        assert answer.status == status
        if Trait.PROBLEMS in self.lacks:
            return
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], problem["code"], problem["service"]) == (status, code, "gateway")
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert problem["detail"]

    def limit_of(self, answer: Answer) -> tuple[int, int, int]:
        """Return limit, what is left, and seconds until it is whole again, of the limit that the headers tell of."""
        prefix = "x-ratelimit-" if "x-ratelimit-limit" in answer.headers else "ratelimit-"
        limit, left, reset = (re.split("[,;]", answer.headers[f"{prefix}{name}"])[0] for name in _LIMIT_HEADERS)
        return int(limit), int(left), int(reset)

    def _must_override(self) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `gateway`.")


_LIMIT_HEADERS: Final = ("limit", "remaining", "reset")
