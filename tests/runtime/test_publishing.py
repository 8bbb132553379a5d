"""What services and gateway are told when an instance comes or goes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bandstand.workspace.export.envoy import GatewayRuntime, Health
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.messages import Phase
from bandstand.workspace.runtime.plan import make_plan
from bandstand.workspace.runtime.publishing import Publisher, health_of
from bandstand.workspace.runtime.resources import Process
from bandstand.workspace.runtime.supervision import Status
from bandstand.workspace.runtime.writes import PendingWrites
from tests.limits import full_disk
from tests.runtime.plans import facts, workspace


class Published:
    """A publisher on a folder, and what it wrote."""

    def __init__(self, root: Path) -> None:
        self.folder = StateFolder.of(root)
        self.folder.prepare()
        self.plan = make_plan(workspace(root), facts(root))
        runtime = GatewayRuntime(port=8000, admin_port=20_003, xds_dir=self.folder.envoy)
        self.publisher = Publisher(workspace(root), runtime, self.folder)
        self.publisher.begin()

    def tell(self, name: str, phase: Phase) -> None:
        self.publisher.changed(Status(resource=self.plan.resource(name), phase=phase))

    def registry(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.folder.registry.read_bytes())
        return found

    def health(self, service: str) -> str:
        content = msgspec.json.decode((self.folder.envoy / f"eds-{service}.json").read_bytes())
        found: str = content["resources"][0]["endpoints"][0]["lb_endpoints"][0]["health_status"]
        return found


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_only_ready_instances_are_in_the_registry(published: Published) -> None:
    """Every service is known from the start; an instance is there from ready until it is not."""
    assert published.registry() == {"version": 1, "services": {"user-service": [], "order-service": []}}
    published.tell("user-service-web", Phase.STARTING)
    assert published.registry()["services"]["user-service"] == []
    published.tell("user-service-web", Phase.READY)
    instance = {"id": "user-service-web-1", "url": "http://127.0.0.1:20004"}
    assert published.registry()["services"]["user-service"] == [instance]
    published.tell("user-service-web", Phase.BACKOFF)
    assert published.registry()["services"]["user-service"] == []


def test_one_that_is_to_leave(published: Published) -> None:
    """Nobody is sent to it any more while its process still works; that it ends then changes nothing."""
    published.tell("user-service-web", Phase.READY)
    published.publisher.leaving("user-service-web")
    assert published.registry()["services"]["user-service"] == []
    assert published.health("user-service") == "DRAINING"
    published.publisher.leaving("user-service-worker")
    published.tell("user-service-web", Phase.STOPPING)
    assert published.health("user-service") == "DRAINING"


def test_the_gateway_is_told_the_health(published: Published) -> None:
    """Healthy while ready, draining while it stops, unhealthy otherwise."""
    for phase, health in (
        (Phase.STARTING, "UNHEALTHY"),
        (Phase.READY, "HEALTHY"),
        (Phase.UNREADY, "UNHEALTHY"),
        (Phase.READY, "HEALTHY"),
        (Phase.STOPPING, "DRAINING"),
    ):
        published.tell("order-service-web", phase)
        assert published.health("order-service") == health


def test_workers_and_servers_are_nobodys_business(published: Published) -> None:
    """What answers no requests is neither registered nor routed to."""
    published.tell("user-service-worker", Phase.READY)
    published.tell("postgres", Phase.READY)
    assert published.registry()["services"]["user-service"] == []


def test_every_phase_has_a_health() -> None:
    """None but a ready instance gets new requests."""
    assert [phase for phase in Phase if health_of(phase) is Health.HEALTHY] == [Phase.READY]


def test_an_instance_that_is_gone_for_good(published: Published) -> None:
    """Two instances are told of while one takes the other's place; then nothing is left of the old one."""
    old = published.plan.resource("user-service-web")
    assert isinstance(old, Process)
    new = msgspec.structs.replace(old, name="user-service-web-2", port=29_999, url="http://127.0.0.1:29999")
    published.tell("user-service-web", Phase.READY)
    published.publisher.changed(Status(resource=new, phase=Phase.READY))
    assert [one["id"] for one in published.registry()["services"]["user-service"]] == [
        "user-service-web-1",
        "user-service-web-2-1",
    ]
    published.publisher.changed(Status(resource=old, phase=Phase.STOPPING, gone=True))
    assert [one["url"] for one in published.registry()["services"]["user-service"]] == ["http://127.0.0.1:29999"]
    published.publisher.changed(Status(resource=old, phase=Phase.STOPPED, gone=True))
    content = (published.folder.envoy / "eds-user-service.json").read_text()
    assert "29999" in content
    assert str(old.port) not in content


def test_a_full_disk_is_said_once_and_made_up_for(tmp_path: Path) -> None:
    """Nothing is raised and no half file is left; when there is room again, both files say how things are now."""
    said: list[str] = []
    published = Published(tmp_path)
    writes = PendingWrites(said.append)
    runtime = published.publisher.runtime
    published.publisher = Publisher(workspace(tmp_path), runtime, published.folder, writes=writes)
    published.tell("user-service-web", Phase.READY)
    before = published.registry()
    with full_disk():
        published.tell("user-service-web", Phase.UNREADY)
        published.tell("order-service-web", Phase.READY)
        writes.retry()
    assert len(said) == 1
    assert f"{published.folder.registry} can't be written: " in said[0]
    assert published.registry() == before
    assert not list(published.folder.root.rglob(".registry*")) + list(published.folder.envoy.glob(".eds*"))
    writes.retry()
    assert published.registry()["services"]["user-service"] == []
    assert published.registry()["services"]["order-service"]
    assert published.health("user-service") == "UNHEALTHY"
    assert published.health("order-service") == "HEALTHY"
    assert said[1:] == ["The files of the run are up to date again."]
