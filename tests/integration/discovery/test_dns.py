"""The DNS registry against a real name server."""

from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest

from bandstand.discovery.backends.dns import DnsRegistry
from bandstand.discovery.watching import RegistryAway
from bandstand.exceptions import NoInstances, UnknownService
from tests.integration.discovery.nameserver import NameServer, nameserver
from tests.integration.discovery.processes import until

pytestmark = pytest.mark.integration

NAME = "user-service.shop.test."


@pytest.fixture
def server() -> Iterator[NameServer]:
    with nameserver() as running:
        yield running


@pytest.fixture
def registry(server: NameServer) -> Iterator[DnsRegistry]:
    yield from open_registry(server, "port=8000")


@pytest.fixture
def by_srv(server: NameServer) -> Iterator[DnsRegistry]:
    yield from open_registry(server, "srv=_http._tcp")


def open_registry(server: NameServer, options: str) -> Iterator[DnsRegistry]:
    registry = DnsRegistry(f"dns://127.0.0.1:{server.port}/?suffix=.shop.test&{options}")
    yield registry
    registry.close()


def urls(registry: DnsRegistry) -> list[str]:
    return [instance.url for instance in registry.instances("user-service")]


def test_addresses_of_both_families(server: NameServer, registry: DnsRegistry) -> None:
    """A and AAAA records are instances on the port of the URL, as headless services and Compose have them."""
    server.records[NAME, "A"] = (5, ["10.0.0.2", "10.0.0.1"])
    server.records[NAME, "AAAA"] = (5, ["fd00::1"])
    assert urls(registry) == ["http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://[fd00::1]:8000"]
    assert registry.instances("user-service")[0].id == "user-service-10.0.0.1-8000"


def test_an_alias_is_followed(server: NameServer, registry: DnsRegistry) -> None:
    """A CNAME leads to the addresses, and the shortest time to live on the way counts."""
    server.records[NAME, "CNAME"] = (7, ["elsewhere.test."])
    server.records["elsewhere.test.", "A"] = (20, ["10.0.0.1"])
    assert urls(registry) == ["http://10.0.0.1:8000"]
    assert registry.look_at("user-service", "").rest == 7


def test_srv_records_say_the_port(server: NameServer, by_srv: DnsRegistry) -> None:
    """Targets of the lowest priority are instances, each on its own port; the others are for worse days."""
    server.records[f"_http._tcp.{NAME}", "SRV"] = (5, ["1 5 8001 a.test.", "1 5 8002 b.test.", "2 5 8003 c.test."])
    for number, host in enumerate("abc", start=1):
        server.records[f"{host}.test.", "A"] = (5, [f"10.0.0.{number}"])
    assert urls(by_srv) == ["http://10.0.0.1:8001", "http://10.0.0.2:8002"]


def test_a_srv_record_that_says_nobody(server: NameServer, by_srv: DnsRegistry) -> None:
    """The root as target means that the service is decidedly not there (RFC 2782)."""
    server.records[f"_http._tcp.{NAME}", "SRV"] = (5, ["0 0 0 ."])
    with pytest.raises(NoInstances):
        by_srv.instances("user-service")


def test_a_long_answer_comes_by_tcp(server: NameServer, registry: DnsRegistry) -> None:
    """An answer that does not fit into a datagram is asked for again over TCP, and is whole."""
    server.records[NAME, "A"] = (5, [f"10.0.1.{number}" for number in range(1, 101)])
    assert len(urls(registry)) == 100


@pytest.mark.parametrize(("ttl", "rest"), [(0, 1), (1, 1), (5, 5), (30, 30), (86400, 30)])
def test_the_time_to_live_is_obeyed(server: NameServer, registry: DnsRegistry, ttl: int, rest: float) -> None:
    """A name is looked up again when its records' time is over: at most each second, at least each half minute."""
    server.records[NAME, "A"] = (ttl, ["10.0.0.1"])
    server.records[NAME, "AAAA"] = (86400, ["fd00::1"])
    assert registry.look_at("user-service", "").rest == rest


@pytest.mark.parametrize(("ttl", "rest"), [(0, 1), (3, 3), (3600, 5)])
def test_a_name_without_records_is_soon_looked_for_again(
    server: NameServer, registry: DnsRegistry, ttl: int, rest: float
) -> None:
    """That there is nothing is believed for as long as the zone says, but for five seconds at most."""
    server.negative_ttl = ttl
    assert registry.look_at("user-service", "").rest == rest
    server.records[NAME, "TXT"] = (5, ["x"])  # the name exists now, without addresses
    assert registry.look_at("user-service", "").rest == rest


def test_changes_are_followed(server: NameServer, registry: DnsRegistry) -> None:
    """Whoever is added or removed is seen when the time to live is over, without anybody waiting for it."""
    server.records[NAME, "A"] = (1, ["10.0.0.1"])
    assert urls(registry) == ["http://10.0.0.1:8000"]
    server.records[NAME, "A"] = (1, ["10.0.0.2"])
    until(lambda: urls(registry) == ["http://10.0.0.2:8000"], "the new address")


def test_an_unknown_name_is_told_from_a_service_without_instances(server: NameServer, registry: DnsRegistry) -> None:
    """A name that does not exist is an unknown service; one that exists without addresses is away."""
    with pytest.raises(UnknownService):
        registry.instances("user-servcie")
    server.records[NAME, "TXT"] = (5, ["x"])
    with pytest.raises(NoInstances):
        registry.instances("user-service")


def test_a_service_that_was_scaled_to_nothing_is_away(server: NameServer, registry: DnsRegistry) -> None:
    """A name that goes is believed at once when the server was never in trouble, and stays known."""
    server.records[NAME, "A"] = (1, ["10.0.0.1"])
    assert urls(registry)
    del server.records[NAME, "A"]

    def is_away() -> bool:
        try:
            registry.instances("user-service")
        except NoInstances:
            return True
        return False

    until(is_away, "the service to be away")


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_the_last_good_list_stays_while_the_server_fails(
    server: NameServer, registry: DnsRegistry, rcode: dns.rcode.Rcode
) -> None:
    """A server that fails says nothing of the name: the addresses stay, and the trouble is told."""
    server.records[NAME, "A"] = (0, ["10.0.0.1"])
    assert urls(registry) == ["http://10.0.0.1:8000"]
    server.rcode = rcode
    until(lambda: bool(registry.trouble()), "the trouble")
    assert urls(registry) == ["http://10.0.0.1:8000"]
    assert NAME in registry.trouble()
    server.rcode = dns.rcode.NOERROR
    until(lambda: not registry.trouble(), "the trouble's end")


def test_a_silent_server_is_away(server: NameServer, registry: DnsRegistry) -> None:
    """No answer within the time limit is no statement about the name."""
    server.silent = True
    with pytest.raises(RegistryAway, match="LifetimeTimeout"):
        registry.look_at("user-service", "")


def test_one_family_may_fail(server: NameServer, registry: DnsRegistry) -> None:
    """A server that fails on AAAA does not hide the A records."""

    class Half(NameServer):
        def answer(self, wire: bytes) -> dns.message.Message:
            reply = super().answer(wire)
            if self.asked[-1][1] == "AAAA":
                reply.set_rcode(dns.rcode.SERVFAIL)
            return reply

    server.__class__ = Half
    server.records[NAME, "A"] = (5, ["10.0.0.1"])
    assert urls(registry) == ["http://10.0.0.1:8000"]


def test_calls_do_not_ask(server: NameServer, registry: DnsRegistry) -> None:
    """Answers come from memory: a thousand calls within the time to live cost the name server nothing."""
    server.records[NAME, "A"] = (30, ["10.0.0.1"])
    for _ in range(1000):
        registry.instances("user-service")
    assert server.times("A") == 1


def test_all_services_are_those_asked_for(server: NameServer, registry: DnsRegistry) -> None:
    """DNS can't be asked for all names, so the list has those that somebody asked for and that exist."""
    server.records[NAME, "A"] = (5, ["10.0.0.1"])
    with pytest.raises(UnknownService):
        registry.instances("nobody")
    assert registry.services() == {}
    registry.instances("user-service")
    assert list(registry.services()) == ["user-service"]
