"""``consul://host:8500/?dc=…&tag=…&scheme=https&ca=/path/ca.pem``: what Consul says of each service's health.

The token of its access control stands in ``BANDSTAND_DISCOVERY_TOKEN``, or before the host: ``consul://token@host``.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import consul
import msgspec
import requests

from bandstand.conf import wire
from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery.addresses import RegistryAddress
from bandstand.discovery.backends.watched import Instances, WatchedRegistry, seen
from bandstand.discovery.base import Instance, base_url
from bandstand.discovery.registrar import Entry, Registrar
from bandstand.discovery.watching import RegistryAway, Seen, Watch
from bandstand.structs import build_type

__all__ = ["ConsulAgent", "ConsulRegistry"]

_PORT: Final = 8500
_WAIT: Final = 10  # seconds for which Consul holds a query while nothing changes; a dead line is not seen sooner

_TIMEOUT: Final = 2.0  # seconds for everything else

# One miss says little: a probe may meet a worker that was just killed, while the others serve. So a process that is
# killed is critical after two intervals (4 s), a machine that is gone after two intervals and time-outs (7 s). Consul
# asks no later than an interval after the registration. With TTL the process itself says every few seconds that it is
# well. Consul before 1.7 counts no misses: there one is enough.
_INTERVAL: Final = 2  # seconds, as the gateways ask
_PROBE_TIMEOUT: Final = 1.5
_MISSES: Final = 2
_TTL: Final = 12
_FORGET: Final = "1m"  # the least that Consul takes

_OWN_NAME: Final = "consul"  # the servers list themselves as a service


class ConsulAgent:
    """The agent that ``DISCOVERY_URL`` names; :meth:`client` talks to it.

    Raises:
        ConfigurationError: with one sentence for each part of the URL that is wrong.
    """

    def __init__(self, url: str, *, token: str = "") -> None:
        address = RegistryAddress(url, options={"dc", "tag", "scheme", "ca", "check"})
        if not address.host:
            address.fault(f"it names no host; write consul://host:{_PORT}")
        if token and address.secret and token != address.secret:
            address.fault(f"{wire.DISCOVERY_TOKEN} holds another token; keep the variable, and take the other out")
        self.host = address.host
        self.port = address.port(_PORT)
        self.datacenter = address.text("dc")
        self.tags = tuple(tag for tag in address.many("tag") if tag)
        self.scheme = address.choice("scheme", "http", "https")
        self.check_kind = address.choice("check", "http", "ttl")
        self._authorities = address.text("ca")
        if self._authorities and self.scheme != "https":
            address.fault("ca is of use with scheme=https only")
        self.token = token or address.secret or None
        self._local = threading.local()
        address.check()

    def __repr__(self) -> str:
        return f"ConsulAgent({self.scheme}://{self.host}:{self.port})"  # never the token

    def check(self, entry: Entry) -> dict[str, Any]:
        """Return how Consul is to find out whether an instance is well."""
        if self.check_kind == "ttl":
            return {**consul.Check.ttl(f"{_TTL}s"), "DeregisterCriticalServiceAfter": _FORGET}
        probe = consul.Check.http(
            entry.probe,
            interval=f"{_INTERVAL}s",
            timeout=f"{_PROBE_TIMEOUT}s",
            deregister=_FORGET,
            header={"Host": [entry.name]},
        )
        return {**probe, "FailuresBeforeCritical": _MISSES}

    @contextmanager
    def client(self) -> Iterator[consul.Consul]:
        """Give this thread's client: a forked child has none of its parent's threads, and so none of its connections.

        Raises:
            RegistryAway: Consul could not be asked, or refused.
        """
        client: consul.Consul | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
        try:
            yield client
        except requests.RequestException as error:
            raise RegistryAway(f"{self} does not answer ({type(error).__name__})") from error
        except consul.ConsulException as error:
            raise RegistryAway(f"{self} refused ({type(error).__name__}: {error})") from error

    def _connect(self) -> consul.Consul:
        client = consul.Consul(
            host=f"[{self.host}]" if ":" in self.host else self.host,
            port=self.port,
            scheme=self.scheme,
            dc=self.datacenter or None,
            verify=self._authorities or True,
            connections_timeout=_TIMEOUT,
        )
        client.token = self.token or client.token  # the library takes CONSUL_HTTP_TOKEN before what it is given
        client.http.session.trust_env = False  # http_proxy is meant for the world outside
        return client


class ConsulRegistry(WatchedRegistry, Registrar):
    """Asks the agent for each service that is called, and is told of changes at once. Instances register with it."""

    def __init__(self, url: str, *, token: str = "") -> None:
        super().__init__()
        self.agent = ConsulAgent(url, token=token)
        self.host, self.port, self.tags = self.agent.host, self.agent.port, self.agent.tags
        self._catalog: Watch[tuple[str, ...]] = Watch("the list of services", self._look_at_names, empty=())

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "ConsulRegistry":
        return cls(settings.url, token=settings.token)

    def register(self, entry: Entry, *, ready: bool) -> None:
        with self.agent.client() as client:
            client.agent.service.register(
                entry.service,
                service_id=entry.id,
                address=entry.host or None,
                port=entry.port,
                tags=list(entry.tags),
                meta=dict(entry.metadata),
                check=self.agent.check(entry) | {"status": "passing" if ready else "critical"},
            )
            # An instance that left by this address just before has left its mark.
            client.agent.service.maintenance(entry.id, enable=False)

    def renew(self, entry: Entry, *, ready: Callable[[], bool]) -> None:
        with self.agent.client() as client:
            known = client.agent.services(filter_expr=f'ID == "{entry.id}"')
        if entry.id not in (known or {}):
            self.register(entry, ready=ready())
        elif self.agent.check_kind == "ttl":
            with self.agent.client() as client:
                tell = client.agent.check.ttl_pass if ready() else client.agent.check.ttl_fail
                tell(f"service:{entry.id}")

    def withdraw(self, entry: Entry) -> None:
        with self.agent.client() as client:
            client.agent.service.maintenance(entry.id, enable=True, reason="draining")

    def deregister(self, entry: Entry) -> None:
        with self.agent.client() as client:
            client.agent.service.deregister(entry.id)

    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().names(), *self._catalog.get())))

    def close(self) -> None:
        super().close()
        self._catalog.stop()

    def look_at(self, service: str, mark: str) -> Seen[Instances]:
        with self.agent.client() as client:
            answer = client.health.service(service, tag=list(self.agent.tags) or None, **_blocking(mark))
        index, found = msgspec.convert(answer, _Found, strict=False)
        return seen(
            tuple(entry.instance() for entry in found if entry.service.port),
            rest=_rest(index),
            mark=_mark(index),
            restarted=index < int(mark or 0),
        )

    def _look_at_names(self, mark: str) -> Seen[tuple[str, ...]]:
        with self.agent.client() as client:
            answer = client.catalog.services(**_blocking(mark))
        index, found = msgspec.convert(answer, tuple[int, dict[str, Any]], strict=False)
        names = tuple(name for name in found if name != _OWN_NAME)
        return Seen(
            value=names,
            hollow=not names,
            rest=_rest(index),
            mark=_mark(index),
            restarted=index < int(mark or 0),
        )


class _Service(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(name="ID")
    port: int
    address: str = ""
    tags: tuple[str, ...] | None = None
    meta: dict[str, str] | None = None


class _Node(msgspec.Struct, frozen=True, rename="pascal"):
    address: str


class _Check(msgspec.Struct, frozen=True, rename="pascal"):
    status: str


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    """One element of ``/v1/health/service/…``: as much of it as is used here."""

    node: _Node
    service: _Service
    checks: tuple[_Check, ...] = ()

    def instance(self) -> Instance:
        service, metadata = self.service, self.service.meta or {}
        host = service.address or self.node.address
        place = f"[{host}]:{service.port}" if ":" in host else f"{host}:{service.port}"
        return Instance(
            id=service.id,
            url=base_url(f"{metadata.get('scheme', 'http')}://{place}"),
            healthy=all(check.status in {"passing", "warning"} for check in self.checks),
            version=metadata.get("version", ""),
            tags=service.tags or (),
            metadata=metadata,
        )


_Found: TypeAlias = tuple[int, list[_Entry]]  # the index, and who serves
build_type(_Found)


def _blocking(mark: str) -> dict[str, str]:
    return {"index": mark, "wait": f"{_WAIT}s"} if mark else {}


def _rest(index: int) -> float:
    """Seconds. A service that changes all the time, or an answer without an index, must not make anyone busy."""
    return 0.1 if index > 0 else 1.0


def _mark(index: int) -> str:
    """What to wait for a change of. Consul's manual asks to begin anew when the index is 0 or went back."""
    return str(index) if index > 0 else ""
