"""Gateways in front of small services, for every test of their behaviour."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bandstand.testing.gateway import MANIFEST, GatewayUnderTest, Upstream
from bandstand.workspace.export.envoy import Endpoint, Health
from bandstand.workspace.manifest import Workspace, parse
from tests.integration.gateway.envoy_process import deployed_envoy, running_envoy
from tests.ports import held_port
from tests.waiting import until


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    return parse(MANIFEST)


@contextmanager
def services() -> Iterator[tuple[Upstream, Upstream, Upstream]]:
    with ExitStack() as stack:
        names = (("users", 200), ("orders", 200), ("sick", 503))
        users, orders, sick = (stack.enter_context(Upstream(name, status=status)) for name, status in names)
        yield users, orders, sick


@pytest.fixture(scope="session")
def gateway_of_up(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayUnderTest]:
    """Envoy as `bandstand up` runs it: told who is well."""
    with services() as (users, orders, sick):
        endpoints = {
            "user-service": (Endpoint(port=users.port),),
            "order-service": (Endpoint(port=orders.port),),
            "half-service": (Endpoint(port=users.port), Endpoint(port=held_port())),
            "sick-service": (Endpoint(port=sick.port, health=Health.UNHEALTHY),),
        }
        with running_envoy(workspace, tmp_path_factory.mktemp("up"), endpoints) as envoy:
            yield GatewayUnderTest(client=envoy.client, users=users, orders=orders)


@pytest.fixture(scope="session")
def gateway_of_production(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayUnderTest]:
    """Envoy as it is deployed: finds instances by name, and asks them."""
    folder: Path = tmp_path_factory.mktemp("production")
    with services() as (users, orders, sick):
        endpoints = {
            "user-service": (Endpoint(host="localhost", port=users.port),),
            "order-service": (Endpoint(host="localhost", port=orders.port),),
            "half-service": tuple(Endpoint(host="localhost", port=port) for port in (users.port, held_port())),
            "sick-service": (Endpoint(host="localhost", port=sick.port),),
            "gone-service": (Endpoint(host="gone-service.invalid", port=8000),),
        }
        with deployed_envoy(workspace, folder, endpoints) as envoy:
            until(lambda: envoy.client.get("/api/halves/").status == 200, "the service to be found")
            yield GatewayUnderTest(client=envoy.client, users=users, orders=orders)
