"""A gateway in front of small services, for every test of its behaviour."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bandstand.workspace.export.envoy import Endpoint, Health
from bandstand.workspace.manifest import Workspace, parse
from tests.integration.gateway.client import Client
from tests.integration.gateway.envoy_process import running_envoy
from tests.integration.gateway.upstream import Upstream, free_port

ORIGIN = "http://shop.example:3000"

# Small limits where a test waits for them, large ones where they would be in the way.
MANIFEST = f"""
[platform]
name = "shop"

[gateway]
cors_origins = ["{ORIGIN}", "https://admin.example"]
rate_limit = {{ minute = 100000, hour = 1000000 }}
timeout = 2.0

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

[[services.order-service.routes]]
path = "/api/v1/orders/by-minute"
rate_limit = {{ minute = 5, hour = 1000 }}

[[services.order-service.routes]]
path = "/api/v1/orders/by-hour"
rate_limit = {{ minute = 5, hour = 5 }}

[[services.order-service.routes]]
path = "/api/v1/orders/shared"
rate_limit = {{ minute = 6, hour = 1000 }}

[[services.order-service.routes]]
path = "/api/v1/orders/spoofed"
rate_limit = {{ minute = 5, hour = 1000 }}

[[services.order-service.routes]]
path = "/api/v1/orders/counted"
rate_limit = {{ minute = 5, hour = 1000 }}

[[services.order-service.routes]]
path = "/api/v1/orders/per-address"
rate_limit = {{ minute = 2, hour = 1000 }}

[services.half-service]

[[services.half-service.routes]]
path = "/api/v1/halves"

[services.sick-service]

[[services.sick-service.routes]]
path = "/api/v1/sick"

[services.gone-service]

[[services.gone-service.routes]]
path = "/api/v1/gone"
"""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A gateway and the services behind it, all of which are the test's own.

    ``users`` and ``orders`` are one instance each; half-service has a second instance that refuses connections,
    sick-service one that is known to be unhealthy, gone-service none.
    """

    client: Client
    users: Upstream
    orders: Upstream


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    return parse(MANIFEST)


@pytest.fixture(scope="session", params=["envoy"])
def gateway(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same services behind each kind of gateway."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        users, orders, sick = (stack.enter_context(Upstream(name)) for name in ("users", "orders", "sick"))
        endpoints = {
            "user-service": (Endpoint(port=users.port),),
            "order-service": (Endpoint(port=orders.port),),
            "half-service": (Endpoint(port=users.port), Endpoint(port=free_port())),
            "sick-service": (Endpoint(port=sick.port, health=Health.UNHEALTHY),),
        }
        envoy = stack.enter_context(running_envoy(workspace, folder, endpoints))
        yield Gateway(client=envoy.client, users=users, orders=orders)
