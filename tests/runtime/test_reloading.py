"""Which changes of a manifest come true while the platform runs."""

from pathlib import Path

import msgspec

from bandstand.workspace.manifest import Gateway, RateLimit, Route, Service
from bandstand.workspace.runtime.reloading import needs_restart, with_routes
from tests.runtime.plans import workspace

CURRENT = workspace(Path("/w"))


def test_routes_limits_and_origins_are_taken() -> None:
    """Everything that the gateway alone decides comes true at once; its own address stays."""
    users = msgspec.structs.replace(CURRENT.services[0], routes=(Route(path="/api/v2/users"),))
    gateway = Gateway(port=9999, cors_origins=("http://a",), rate_limit=RateLimit(minute=5, hour=6), timeout=3.0)
    written = msgspec.structs.replace(CURRENT, gateway=gateway, services=(users, CURRENT.services[1]))
    wanted = with_routes(CURRENT, written)
    assert wanted.services[0].routes == (Route(path="/api/v2/users"),)
    assert (wanted.gateway.timeout, wanted.gateway.port) == (3.0, 8000)
    assert needs_restart(wanted, written) == ("gateway.port changed; that takes `bandstand down` and `bandstand up`.",)


def test_what_a_process_was_started_with_takes_a_restart() -> None:
    """Services that came, went or changed are named, and the running ones stay as they are."""
    users = msgspec.structs.replace(CURRENT.services[0], threads=2)
    new = Service(name="new-service", folder=Path("/w/new"), module="new_service")
    written = msgspec.structs.replace(CURRENT, services=(users, new))
    wanted = with_routes(CURRENT, written)
    assert wanted == CURRENT
    named = [text.split()[0] for text in needs_restart(wanted, written)]
    assert named == ["[services.user-service]", "[services.order-service]", "[services.new-service]"]
