"""The Consul registry against a real agent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import consul
import pytest

from bandstand.discovery import Instance
from bandstand.discovery.backends import consul as backend
from bandstand.discovery.backends.consul import ConsulRegistry
from bandstand.discovery.backends.dns import DnsRegistry
from bandstand.discovery.registrar import Entry
from bandstand.discovery.watching import Watch
from bandstand.exceptions import NoInstances, UnknownService
from tests.integration.discovery.processes import passing
from tests.integration.optional.servers import Consul
from tests.waiting import GUARD, until

pytestmark = pytest.mark.integration

TTL = {"ttl": "1h", "status": "passing"}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consul probes each second, and an answer that is late on a busy machine is not missing."""
    monkeypatch.setattr(backend, "_INTERVAL", 1)
    for limit in ("_PROBE_TIMEOUT", "_TIMEOUT"):
        monkeypatch.setattr(backend, limit, GUARD)


@pytest.fixture
def registry(agent: Consul) -> Iterator[ConsulRegistry]:
    yield from open_registry(agent)


def open_registry(agent: Consul, options: str = "") -> Iterator[ConsulRegistry]:
    registry = ConsulRegistry(f"consul://127.0.0.1:{agent.port}/{options}")
    yield registry
    registry.close()


def client(agent: Consul) -> consul.Consul:
    return consul.Consul(port=agent.port)


def put(agent: Consul, number: int, *, name: str = "user-service", **options: object) -> str:
    """Register an instance on the address 10.0.0.number."""
    identity = f"{name}-{number}"
    client(agent).agent.service.register(
        name, service_id=identity, address=f"10.0.0.{number}", port=8000, **{"check": TTL, **options}
    )
    return identity


def urls(registry: ConsulRegistry, name: str = "user-service") -> list[str]:
    with suppress(NoInstances, UnknownService):
        return sorted(instance.url for instance in registry.instances(name))
    return []


def test_instances_with_what_they_say_of_themselves(agent: Consul, registry: ConsulRegistry) -> None:
    """Address, port, version, tags and metadata come from the registration."""
    put(agent, 1, tags=["blue"], meta={"version": "1.2.0", "platform": "shop", "scheme": "https"})
    assert registry.instances("user-service") == (
        Instance(
            id="user-service-1",
            url="https://10.0.0.1:8000",
            version="1.2.0",
            tags=("blue",),
            metadata={"version": "1.2.0", "platform": "shop", "scheme": "https"},
        ),
    )


def test_changes_come_at_once(agent: Consul, registry: ConsulRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blocking query is answered when something changes: who comes and goes is seen long before its wait is over."""
    monkeypatch.setattr(backend, "_WAIT", int(2 * GUARD))
    put(agent, 1)
    assert urls(registry) == ["http://10.0.0.1:8000"]
    identity = put(agent, 2)
    until(lambda: len(urls(registry)) == 2, "the second instance")
    client(agent).agent.service.deregister(identity)
    until(lambda: len(urls(registry)) == 1, "the second instance to be gone")


def test_who_is_ill_is_not_called(agent: Consul, registry: ConsulRegistry) -> None:
    """A failing check takes an instance out, a warning does not; a service whose instances are all ill is away."""
    put(agent, 1)
    put(agent, 2)
    assert len(urls(registry)) == 2
    client(agent).agent.check.ttl_fail("service:user-service-1")
    client(agent).agent.check.ttl_warn("service:user-service-2")
    until(lambda: urls(registry) == ["http://10.0.0.2:8000"], "the ill instance to be out")
    client(agent).agent.check.ttl_fail("service:user-service-2")
    until(lambda: urls(registry) == [], "the other one to be out")
    with pytest.raises(NoInstances):
        registry.instances("user-service")


def test_only_what_carries_the_tag(agent: Consul) -> None:
    """With a tag in the URL the instances of others are not seen."""
    put(agent, 1, tags=["blue", "shop"])
    put(agent, 2, tags=["green", "shop"])
    for tagged in open_registry(agent, "?tag=blue&tag=shop"):
        assert urls(tagged) == ["http://10.0.0.1:8000"]


def test_another_datacenter_is_asked(agent: Consul) -> None:
    """The datacenter of the URL is asked for; one that does not exist is a trouble that the agent's words explain."""
    put(agent, 1)
    for known in open_registry(agent, "?dc=dc1"):
        assert urls(known) == ["http://10.0.0.1:8000"]
    for unknown in open_registry(agent, "?dc=nowhere"):
        assert urls(unknown) == []
        assert "No path to datacenter" in unknown.trouble()


def test_all_services_are_listed(agent: Consul, registry: ConsulRegistry) -> None:
    """The list has every service of the catalog but Consul itself."""
    put(agent, 1)
    put(agent, 1, name="order-service")
    assert {name: [each.url for each in known] for name, known in registry.services().items()} == {
        "user-service": ["http://10.0.0.1:8000"],
        "order-service": ["http://10.0.0.1:8000"],
    }


def test_a_misspelled_name_gets_a_hint(agent: Consul, registry: ConsulRegistry) -> None:
    """What the catalog has is told to who asked for something else."""
    put(agent, 1)
    with pytest.raises(UnknownService, match="Did you mean user-service"):
        registry.instances("user-servcie")


def test_a_consul_that_is_away_stops_nobody(agent: Consul, registry: ConsulRegistry) -> None:
    """The last good list stays while Consul is away and while it is back without knowing anybody."""
    put(agent, 1)
    put(agent, 2)
    assert len(urls(registry)) == 2
    agent.stop()
    until(lambda: bool(registry.trouble()), "the trouble")
    assert len(registry.instances("user-service")) == 2
    agent.start()  # empty
    until(lambda: not registry.trouble(), "the trouble's end")
    assert len(registry.instances("user-service")) == 2
    put(agent, 2)
    until(lambda: urls(registry) == ["http://10.0.0.2:8000"], "who registered again")


def test_without_the_last_good_list_calls_stop(
    agent: Consul, registry: ConsulRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the kept list that carries calls over: a watch that forgets it leaves nobody to call."""
    missed = Watch._missed

    def forget(watch: Watch[tuple[Instance, ...]], reason: str) -> float:
        watch.last = ()
        return missed(watch, reason)

    monkeypatch.setattr(Watch, "_missed", forget)
    put(agent, 1)
    assert urls(registry)
    agent.stop()
    until(lambda: bool(registry.trouble()), "the trouble")
    with pytest.raises(NoInstances):
        registry.instances("user-service")


def test_a_consul_that_is_not_there_is_told_to_all_who_ask() -> None:
    """There is no list then, neither for the first who asks nor for those who come later."""
    registry = ConsulRegistry("consul://127.0.0.1:1")
    until(lambda: bool(urls(registry) or registry.trouble()), "the trouble")
    for _ in range(100):
        with pytest.raises(NoInstances, match="does not answer"):
            registry.instances("user-service")
    registry.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # what the child does is safe
def test_a_forked_child_watches_by_itself(agent: Consul, registry: ConsulRegistry) -> None:
    """A child has the list at once and hears of changes on a connection of its own; the parent goes on undisturbed."""
    put(agent, 1)
    assert len(urls(registry)) == 1
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            assert len(urls(registry)) == 1
            os.write(writer, b"1")
            until(lambda: len(urls(registry)) == 2, "the second instance, in the child")
            status = 0
        os._exit(status)
    assert os.read(reader, 1) == b"1"
    put(agent, 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    until(lambda: len(urls(registry)) == 2, "the second instance, in the parent")
    os.close(reader)
    os.close(writer)


def test_consul_by_its_dns_interface(agent: Consul) -> None:
    """SRV records of Consul itself, whose time to live is 0, lead to the same instances."""
    put(agent, 1)
    put(agent, 2)
    registry = DnsRegistry(f"dns://127.0.0.1:{agent.dns_port}/?srv=&suffix=.service.consul")
    assert [instance.url for instance in registry.instances("user-service")] == [
        "http://10.0.0.1:8000",
        "http://10.0.0.2:8000",
    ]
    client(agent).agent.check.ttl_fail("service:user-service-1")
    until(lambda: len(registry.instances("user-service")) == 1, "the ill one to be out")
    with pytest.raises(UnknownService):
        registry.instances("nobody")
    registry.close()


class Probed:
    """A server that answers the probes of Consul by these statuses, then by the last of them for ever."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[str | None] = []
        probed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = statuses[min(len(probed.asked), len(statuses) - 1)]
                probed.asked.append(self.headers["Host"])
                self.send_response(status)
                self.end_headers()

            def log_request(self, code: object = "-", size: object = "-") -> None:
                """Be silent."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def entry(self) -> Entry:
        port = self._server.server_port
        url = f"http://127.0.0.1:{port}/health/ready/"
        return Entry(id="user-1", service="user-service", name="user.test", host="127.0.0.1", port=port, probe=url)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def probed(*statuses: int) -> Iterator[Probed]:
    server = Probed(*statuses)
    yield server
    server.close()


def test_one_probe_that_misses_takes_nobody_out(agent: Consul, registry: ConsulRegistry) -> None:
    """A probe may meet a worker that was just killed: the instance is passing at every look, before and after."""
    with probed(200, 503, 200) as server:
        registry.register(server.entry, ready=True)
        while len(server.asked) < 4:
            assert passing(agent) == [server.entry.port], server.asked
        assert set(server.asked) == {"user.test"}


def test_two_probes_that_miss_take_it_out(agent: Consul, registry: ConsulRegistry) -> None:
    """Who misses twice in a row is out, and back with the first probe that passes."""
    with probed(200, 503, 503, 200) as server:
        registry.register(server.entry, ready=True)
        until(lambda: passing(agent) == [], "the instance to be out")
        assert len(server.asked) >= 3
        until(lambda: passing(agent) == [server.entry.port], "the instance to be back")


def test_who_was_not_ready_is_seen_with_the_first_probe(agent: Consul, registry: ConsulRegistry) -> None:
    """A new instance waits for no second probe before it is called: here no two in a row pass."""
    with probed(*[200, 503] * 1000) as server:
        registry.register(server.entry, ready=False)
        assert passing(agent) == []
        until(lambda: passing(agent) == [server.entry.port], "the instance to be in")


def test_who_is_entered_anew_stays_passing(agent: Consul, registry: ConsulRegistry) -> None:
    """A worker that takes over may not be ready itself yet: the instance is judged by the probes all the same."""
    with probed(200) as server:
        registry.register(server.entry, ready=True)
        registry.register(server.entry, ready=False)
        assert passing(agent) == [server.entry.port]
