"""``dns://?suffix=.shop.svc.cluster.local&port=8000``: addresses from A and AAAA records, or SRV records with ports.

A name is looked up again when the time to live of its records is over.
"""

from functools import cached_property
from ipaddress import ip_address
from typing import Any, Final

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import msgspec

from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery.addresses import RegistryAddress
from bandstand.discovery.backends.watched import Instances, WatchedRegistry, seen
from bandstand.discovery.base import Instance
from bandstand.discovery.watching import RegistryAway, Seen

__all__ = ["DnsRegistry"]

_PORT: Final = 53
_LIFETIME: Final = 2.0  # seconds for one query, over all servers and repetitions

# Seconds. Records that must not be kept at all (Consul's are so) are looked up once a second. What may be kept for
# hours is looked up every half minute: that costs the nearest resolver's cache an answer, and nobody else anything.
_LEAST_REST: Final = 1.0
_MOST_REST: Final = 30.0
_MOST_REST_OF_NOTHING: Final = 5.0  # a name without records is soon looked for again


class DnsRegistry(WatchedRegistry):
    """Keeps what the names resolve to. DNS has no question for all services: only those that were asked for are listed.

    ``dns://`` asks the servers of ``/etc/resolv.conf``, and ``dns://10.0.0.10,10.0.0.11:5353`` asks those.

    Raises:
        ConfigurationError: with one sentence for each part of the URL that is wrong.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        address = RegistryAddress(url, options={"suffix", "port", "srv", "scheme"})
        self._suffix = _suffix(address)
        self._scheme = address.choice("scheme", "http", "https")
        self._srv = address.text("srv").strip(".") if address.has("srv") else None
        self._port = 0
        if self._srv is None:
            self._port = address.number("port", 0, least=1, most=65535)
        elif address.has("port"):
            address.fault("SRV records say the port; keep either srv or port")
        self._servers = _servers(address)
        address.check()

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "DnsRegistry":
        return cls(settings.url)

    def look_at(self, service: str, _mark: str) -> Seen[Instances]:
        name = f"{service}{self._suffix}"
        found = self._hosts(name, self._port) if self._srv is None else self._targets(f"{self._srv}.{name}".lstrip("."))
        most = _MOST_REST if found.places else _MOST_REST_OF_NOTHING
        return seen(
            tuple(self._instance(service, place) for place in sorted(found.places)),
            known=found.exists,
            rest=min(max(found.seconds, _LEAST_REST), most),
        )

    def _instance(self, service: str, place: "_Place") -> Instance:
        host, port = place
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return Instance(id=f"{service}-{host}-{port}", url=f"{self._scheme}://{netloc}")

    def _hosts(self, name: str, port: int) -> "_Found":
        """Return the A and AAAA records: where the one can be had, it does not matter that the other can't."""
        found, away = _Found(), None
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                answer = self._ask(name, kind)
            except RegistryAway as error:
                away = error
            else:
                found |= answer.found({(record.address, port) for record in answer.records})
        if away is not None and not found.places:
            raise away
        return found

    def _targets(self, name: str) -> "_Found":
        """Return the targets with the lowest priority, as RFC 2782 asks. The root as target means: decidedly nobody."""
        answer = self._ask(name, dns.rdatatype.SRV)
        found = answer.found(set())
        first = min((record.priority for record in answer.records), default=0)
        for record in answer.records:
            if record.priority == first and record.target != dns.name.root:
                found |= self._hosts(record.target.to_text(), record.port)
        return found

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> "_Answer":
        try:
            # Only short names need the search list of resolv.conf.
            answer = self._resolver.resolve(
                name, kind, raise_on_no_answer=False, lifetime=_LIFETIME, search=not name.endswith(".")
            )
        except dns.resolver.NXDOMAIN as error:
            answers = error.responses().values()  # type: ignore[no-untyped-call]
            return _Answer(exists=False, seconds=min(each.resolve_chaining().minimum_ttl for each in answers))
        except (dns.exception.DNSException, OSError) as error:
            # A server that failed says nothing of the name: SERVFAIL, REFUSED, or silence.
            raise RegistryAway(f"DNS has no answer for {name} ({type(error).__name__})") from error
        return _Answer(exists=True, seconds=answer.chaining_result.minimum_ttl, records=tuple(answer.rrset or ()))

    @cached_property
    def _resolver(self) -> dns.resolver.Resolver:
        """Made at the first look, since reading /etc/resolv.conf may fail."""
        resolver = dns.resolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers]
            resolver.domain = dns.name.root
        return resolver


_Place = tuple[str, int]


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts with ports; ``seconds`` is for how long that is so, ``exists`` whether there is such a name."""

    places: frozenset[_Place] = frozenset()
    seconds: float = float("inf")
    exists: bool = False

    def __or__(self, other: "_Found") -> "_Found":
        return _Found(
            places=self.places | other.places,
            seconds=min(self.seconds, other.seconds),
            exists=self.exists or other.exists,
        )


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one kind, and for how many seconds they (or that there are none) may be kept."""

    exists: bool
    seconds: float
    records: tuple[Any, ...] = ()

    def found(self, places: set[_Place]) -> _Found:
        return _Found(places=frozenset(places), seconds=self.seconds, exists=self.exists)


def _suffix(address: RegistryAddress) -> str:
    """Return what stands behind a service's name, with dots around it, or nothing."""
    text = address.text("suffix").strip(".")
    if not text:
        return ""
    try:
        dns.name.from_text(text)
    except dns.exception.DNSException as error:
        address.fault(f"suffix is {text!r}, which is no name in DNS ({error})")
    return f".{text}."


def _servers(address: RegistryAddress) -> tuple[_Place, ...]:
    if address.secret:
        address.fault("DNS knows no tokens; write dns://address:port")
    servers = []
    for part in filter(None, address.place.split(",")):
        host, port = _split(part)
        try:
            servers.append((str(ip_address(host)), int(port)))
        except ValueError:
            address.fault(
                f"{part!r} is no address of a DNS server; write it as 10.0.0.10, 10.0.0.10:53 or [fd00::10]:53"
            )
    return tuple(servers)


def _split(place: str) -> tuple[str, str]:
    """Return host and port; an IPv6 address stands in brackets."""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, port.removeprefix(":") or str(_PORT)
    host, _, port = place.partition(":")
    return host, port or str(_PORT)
