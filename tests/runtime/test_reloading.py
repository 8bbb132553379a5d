"""Which changes of a manifest come true while the platform runs, and what stays when they cannot."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from bandstand.exceptions import ServerFailed
from bandstand.workspace.manifest import Gateway, RateLimit, Route, Service, Workspace
from bandstand.workspace.runtime import reloading
from bandstand.workspace.runtime.binaries import Binaries
from bandstand.workspace.runtime.plan import gateway_runtime
from bandstand.workspace.runtime.publishing import Publisher
from bandstand.workspace.runtime.recording import Recorder
from bandstand.workspace.runtime.reloading import Reloader, needs_restart, with_routes
from bandstand.workspace.runtime.servers.envoy import install_gateway
from bandstand.workspace.runtime.state import Reloading, read_state
from tests.runtime.plans import facts, workspace

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


class Reloads:
    """A reloader for a platform that runs, with a gateway that takes what it is told, or raises ``fault``."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.facts = msgspec.structs.replace(facts(root), binaries=Binaries())
        self.folder = self.facts.folder
        self.folder.prepare()
        self.current = workspace(root)
        self.written: Workspace | Exception = self.current
        self.fault: Exception | None = None
        self.waited: set[str] = set()
        self.publisher = Publisher(self.current, gateway_runtime(self.facts), self.folder)
        install_gateway(self.current, self.publisher.runtime, self.folder.envoy)
        monkeypatch.setattr(reloading, "load", self._load)
        monkeypatch.setattr(reloading, "until_gateway_read", self._wait)
        monkeypatch.setattr(reloading, "count_refusals", self._count)

    def changed(self) -> Workspace:
        users = msgspec.structs.replace(self.current.services[0], routes=(Route(path="/api/v2/users"),))
        return msgspec.structs.replace(self.current, services=(users, self.current.services[1]))

    def reload(self, times: int = 1) -> Reloading:
        recorder = Recorder(self.folder, platform="shop", ports=self.facts.ports, pid_of=lambda _: None)

        async def run() -> None:
            reloader = Reloader(self.folder.root / "none", self.publisher, recorder, self.facts, lambda _: None)
            watching = asyncio.create_task(reloader.watch(60))
            for number in range(1, times + 1):
                reloader.request()
                for _ in range(1000):
                    await asyncio.sleep(0)
                    if read_state(self.folder).reloading.number == number:
                        break
            watching.cancel()

        self.folder.state.unlink(missing_ok=True)
        asyncio.run(run())
        return read_state(self.folder).reloading

    def _load(self, path: Path) -> Workspace:
        if isinstance(self.written, Exception):
            raise self.written
        return self.written

    async def _count(self, port: int) -> int:
        return 0

    async def _wait(self, port: int, files: Iterable[Path], *, patience: float, refusals: int) -> None:
        self.waited = {file.name for file in files}
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reloads:
    return Reloads(tmp_path, monkeypatch)


def test_what_the_gateway_refuses_is_taken_back(reloads: Reloads) -> None:
    """The old routes stay, also for a gateway that is started anew, and for all that is told of services later."""
    routes = (reloads.folder.envoy / "rds.json").read_text()
    reloads.written, reloads.fault = reloads.changed(), ServerFailed("The gateway refuses rds.json.")
    result = reloads.reload()
    assert result.refused
    assert "The gateway refuses rds.json." in result.text
    assert (reloads.folder.envoy / "rds.json").read_text() == routes
    assert reloads.publisher.workspace == reloads.current
    reloads.fault = None
    assert reloads.reload().changed
    assert (reloads.folder.envoy / "rds.json").read_text() != routes


def test_a_manifest_that_changes_nothing(reloads: Reloads) -> None:
    """An earlier change may not have been read yet, so the answer waits for the gateway all the same."""
    result = reloads.reload()
    assert (result.changed, result.refused) == (False, False)
    assert {"rds.json", "lds.json", "cds.json", "eds-user-service.json"} <= reloads.waited


def test_a_fault_of_the_runner_while_it_reloads(reloads: Reloads) -> None:
    """It is told, and the next change is seen: whoever watches goes on."""
    reloads.written = MemoryError("too much")
    result = reloads.reload(times=2)
    assert (result.number, result.refused) == (2, True)
    assert "MemoryError: too much" in result.text
