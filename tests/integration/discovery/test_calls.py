"""Calls by ServiceClient to real processes that register with a real Consul, while both of them fail."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bandstand.client import ServiceClient
from bandstand.conf import wire
from bandstand.discovery import Instance, use_registry
from bandstand.discovery.backends.consul import ConsulRegistry
from bandstand.discovery.watching import Watch
from bandstand.exceptions import ServiceCallError
from tests.integration.discovery.processes import passing, running
from tests.integration.optional.servers import Consul
from tests.waiting import GUARD, until

pytestmark = [pytest.mark.integration, pytest.mark.fault]

AWAY = float(os.environ.get("BANDSTAND_FAULT_CONSUL_SECONDS", "1"))  # that Consul is stopped, at least


@pytest.fixture
def registry(agent: Consul) -> Iterator[ConsulRegistry]:
    registry = ConsulRegistry(f"consul://127.0.0.1:{agent.port}")
    with use_registry(registry):
        yield registry
    registry.close()


class Caller:
    """Calls as long as it may, and counts."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed: list[ServiceCallError] = []
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        client = ServiceClient("user-service")
        while not self.stopped.wait(0.02):
            try:
                client.get("/who/", timeout=GUARD)
            except ServiceCallError as error:
                self.failed.append(error)
            else:
                self.answered += 1

    @contextmanager
    def calling(self) -> Iterator["Caller"]:
        self._thread.start()
        try:
            yield self
        finally:
            self.stopped.set()
            self._thread.join()

    def pass_by(self, calls: int = 10) -> None:
        """Wait until so many more calls were answered, or one has failed."""
        wanted = self.answered + calls
        until(lambda: self.answered >= wanted or bool(self.failed), "calls to go on")


def test_no_call_fails_when_an_instance_is_killed(agent: Consul, folder: Path, registry: ConsulRegistry) -> None:
    """One of two instances is killed under load: no call fails, and then nobody is sent to it any more."""
    with running("granian", agent, folder) as one, running("granian", agent, folder) as other:
        until(lambda: len(registry.instances("user-service")) == 2, "both instances")
        with Caller().calling() as caller:
            caller.pass_by()
            one.kill()
            until(lambda: len(registry.instances("user-service")) == 1, "the killed one to be out")
            caller.pass_by()
        assert registry.instances("user-service")[0].url == f"http://127.0.0.1:{other.port}"
        assert caller.failed == []


def test_no_call_fails_when_an_instance_leaves(agent: Consul, folder: Path, registry: ConsulRegistry) -> None:
    """One of two instances is ended in good order under load: nobody is sent to it when it stops listening."""
    with (
        running("granian", agent, folder, **{wire.DRAIN_SECONDS: "2"}) as one,
        running("granian", agent, folder),
    ):
        until(lambda: len(registry.instances("user-service")) == 2, "both instances")
        with Caller().calling() as caller:
            one.terminate()
            until(lambda: len(registry.instances("user-service")) == 1, "the one to be out")
            assert one.process.poll() is None
            until(lambda: one.process.poll() is not None, "the server to end")
            caller.pass_by()
        assert caller.failed == []


def outage(agent: Consul, folder: Path, registry: ConsulRegistry, seconds: float = 0.0) -> Caller:
    """Stop Consul, for ``seconds`` at least, and start it again, empty, while somebody calls."""
    with running("gunicorn", agent, folder, workers=2) as service:
        until(lambda: bool(registry.instances("user-service")), "the instance")
        with Caller().calling() as caller:
            caller.pass_by()
            agent.stop()
            until(lambda: bool(registry.trouble()), "the outage to be seen")
            time.sleep(seconds)
            caller.pass_by()
            agent.start()
            until(lambda: passing(agent) == [service.port], "the instance to be back")
            until(lambda: not registry.trouble(), "the trouble's end")
            caller.pass_by()
    return caller


def test_no_call_fails_while_consul_is_away(agent: Consul, folder: Path, registry: ConsulRegistry) -> None:
    """Consul is stopped and started again without what it knew: no call fails, and the instance is registered again."""
    caller = outage(agent, folder, registry, AWAY)
    print(f"{len(caller.failed)} of {len(caller.failed) + caller.answered} calls failed, Consul away for {AWAY:g} s")
    assert caller.failed == []


def test_without_the_last_good_list_calls_fail(
    agent: Consul, folder: Path, registry: ConsulRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the kept list that carries the calls over the outage."""
    missed = Watch._missed

    def forget(watch: Watch[tuple[Instance, ...]], reason: str) -> float:
        watch.last = ()
        return missed(watch, reason)

    monkeypatch.setattr(Watch, "_missed", forget)
    assert outage(agent, folder, registry).failed


def test_without_doubt_calls_fail_when_consul_is_back(
    agent: Consul, folder: Path, registry: ConsulRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the doubt in an empty list that carries the calls over the time until everybody registered again."""
    monkeypatch.setattr(Watch, "_is_doubtful", lambda *_: False)
    with running("granian", agent, folder, WITHOUT_RENEWAL="1"):
        until(lambda: bool(registry.instances("user-service")), "the instance")
        with Caller().calling() as caller:
            agent.stop()
            until(lambda: bool(registry.trouble()), "the trouble")
            agent.start()
            until(lambda: bool(caller.failed), "calls to fail")


def test_who_is_found_by_address_is_asked_by_name(agent: Consul, folder: Path, registry: ConsulRegistry) -> None:
    """No address is an allowed host in production, but the name of the service always is: for callers and Consul."""
    with running("uvicorn", agent, folder, **{wire.ALLOWED_HOSTS: "shop.test"}):
        until(lambda: bool(registry.instances("user-service")), "the instance")
        assert ServiceClient("user-service").get("/who/", timeout=GUARD).content.isdigit()
