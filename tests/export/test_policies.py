"""What the manifest says of calls between services reaches the containers that make them."""

import json

from bandstand.conf import wire
from bandstand.workspace.export.environment import container_environment
from bandstand.workspace.manifest import parse

MANIFEST = """
[platform]
name = "shop"

[services.user-service]

[services.order-service]
calls = ["user-service"]
policies.user-service = { timeout = 2 }
"""


def test_each_container_gets_the_policies_of_its_calls() -> None:
    """A deployed service needs no manifest: its part stands in its environment, and nothing where there is none."""
    workspace = parse(MANIFEST)
    orders, users = (
        container_environment(workspace, workspace.service(name), "web", discovery="dns://", gateways=())
        for name in ("order-service", "user-service")
    )
    assert json.loads(orders[wire.CLIENT_POLICIES]) == {"targets": {"user-service": {"timeout": 2}}}
    assert wire.CLIENT_POLICIES not in users
