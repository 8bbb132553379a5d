"""What the runner and the exporters read: the manifest with every default filled in and every rule held."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace import versions

__all__ = [
    "EMBEDDED",
    "SYSTEM",
    "Envoy",
    "Gateway",
    "Image",
    "Images",
    "Kong",
    "Process",
    "Production",
    "RateLimit",
    "Route",
    "Server",
    "ServerKind",
    "Servers",
    "Service",
    "UserKey",
    "Workspace",
    "is_folder",
]

EMBEDDED: Final = "embedded"
SYSTEM: Final = "system"
ServerKind: TypeAlias = Literal["postgres", "redis", "nats", "rabbitmq"]


def is_folder(place: str) -> bool:
    """Return whether the place of a server, as the manifest has it, is the folder of its programs."""
    return place.startswith("/")


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests one client address may make in a minute and in an hour."""

    minute: int = 100
    hour: int = 1000


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a service that the gateway lets through.

    ``path`` is what the service answers, without a slash at its end; ``alias`` is the same path without the version,
    which the gateway rewrites to ``path``, or None. An ``exact`` route is this path alone, any other is the path and
    everything below it (``/api/users`` and ``/api/users/7``, never ``/api/usersX``). Requests count against the route's
    own ``rate_limit`` if it has one, else against the one of the gateway that all such routes share.
    """

    path: str
    alias: str | None = None
    exact: bool = False
    rate_limit: RateLimit | None = None

    @property
    def public_paths(self) -> tuple[str, ...]:
        """Every path by which clients reach the route."""
        return (self.path,) if self.alias is None else (self.path, self.alias)


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The one door of the platform. ``timeout`` is in seconds and bounds one request from its last byte on.

    ``trusted_proxies`` are the networks of load balancers before it: what these say of a client's address is believed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    cors_origins: tuple[str, ...] = ()
    rate_limit: RateLimit = RateLimit()
    timeout: float = 10.0
    max_body_bytes: int = 1_048_576
    trusted_proxies: tuple[str, ...] = ()


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server that the platform uses: one that exists at ``url``, or one that `bandstand up` starts itself.

    It starts the program from a wheel, or where ``system`` is true the one that is installed on the machine, from the
    folder ``programs`` if that is given.
    """

    kind: ServerKind
    url: str | None = None
    system: bool = False
    programs: Path | None = None

    @property
    def is_external(self) -> bool:
        """True where the server exists, and `bandstand up` does not start it."""
        return self.url is not None

    @property
    def place(self) -> str:
        """Where the server comes from, as the manifest says it; a password in a URL is masked."""
        if self.url is not None:
            return _masked(self.url)
        return str(self.programs or SYSTEM) if self.system else EMBEDDED

    def __repr__(self) -> str:
        return f"Server(kind={self.kind!r}, place={self.place!r})"


class Servers(msgspec.Struct, frozen=True, kw_only=True):
    """The servers below the services; ``broker`` is NATS or RabbitMQ."""

    postgres: Server = Server(kind="postgres")
    redis: Server = Server(kind="redis")
    broker: Server = Server(kind="nats")

    def __iter__(self) -> Iterator[Server]:
        return iter((self.postgres, self.redis, self.broker))


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One Django project of the platform. ``folder`` holds its ``manage.py``; ``seed`` names management commands.

    ``policies`` has what the policy of calls to a service (``bandstand.resilience.Policy``) is to say, by its name.
    ``cpu``, ``cpu_limit`` (cores) and ``memory`` (MiB) are what each of its processes gets in production.
    """

    name: str
    folder: Path
    module: str
    calls: tuple[str, ...] = ()
    issues_user_tokens: bool = False
    seed: tuple[str, ...] = ()
    worker: bool = True
    threads: int = 8
    cpu: float = 0.25
    cpu_limit: float = 1.0
    memory: int = 384
    routes: tuple[Route, ...] = ()
    policies: dict[str, dict[str, Any]] = {}

    @property
    def identifier(self) -> str:
        """The name where hyphens may not stand: of the service's database and its role."""
        return self.name.replace("-", "_")

    @property
    def wsgi(self) -> str:
        """The WSGI application as ``module:object``."""
        return f"{self.module}.wsgi:application"

    @property
    def settings_module(self) -> str:
        """What ``DJANGO_SETTINGS_MODULE`` holds."""
        return f"{self.module}.settings"

    @property
    def processes(self) -> "tuple[Process, ...]":
        """The long-running processes of the service."""
        kinds: tuple[Literal["web", "worker"], ...] = ("web", "worker") if self.worker else ("web",)
        return tuple(Process(service=self.name, kind=kind) for kind in kinds)


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One long-running process of a service."""

    service: str
    kind: Literal["web", "worker"]

    @property
    def name(self) -> str:
        """``user-service-web``: the name in logs and tables."""
        return f"{self.service}-{self.kind}"


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """How the services' images are named and built.

    ``context`` is the folder that the build may see, relative to the manifest. Relative to ``context`` are
    ``requirements`` (hash-locked), ``packages`` (folders that are built into wheels themselves), and
    ``build_requirements``, what these are built with (hash-locked too).
    """

    prefix: str
    tag: str = "0.1.0"
    context: str = "."
    requirements: str = "requirements/production.txt"
    packages: tuple[str, ...] = ()
    build_requirements: str = "requirements/build.txt"

    def name(self, service: str) -> str:
        """Return the image of ``service``: ``registry.example/shop/user-service:1.4.2``."""
        return f"{self.prefix}/{service}:{self.tag}"


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """The images of others that rendered files name: each with its tag, its digest or both."""

    python: str = versions.PYTHON.image
    postgres: str = versions.POSTGRES.image
    valkey: str = versions.VALKEY.image
    rabbitmq: str = versions.RABBITMQ.image
    nats: str = versions.NATS.image
    consul: str = versions.CONSUL.image
    kong: str = versions.KONG.image
    envoy: str = versions.ENVOY.image


class UserKey(msgspec.Struct, frozen=True, kw_only=True):
    """An Ed25519 public key of the tokens of users: its ``kid``, and its value ``x`` in base64url (RFC 8037)."""

    kid: str
    x: str


class Kong(msgspec.Struct, frozen=True, kw_only=True):
    """How Kong is rendered, where it is the gateway.

    Requests are counted by each gateway for itself (``counters`` is ``"local"``) or by all of them in the Redis at that
    URL, whose password Kong reads from the variable ``REDIS_PASSWORD`` if the URL names a user. Requests to
    ``token_routes`` (paths of routes) need a token that one of ``user_keys`` signed.
    """

    counters: str = "local"
    token_routes: tuple[str, ...] = ()
    user_keys: tuple[UserKey, ...] = ()


class Envoy(msgspec.Struct, frozen=True, kw_only=True):
    """How Envoy is rendered: as ``files`` that it watches or as one ``static`` file.

    ``tls`` is the folder that holds ``tls.crt`` and ``tls.key``, or empty for plain HTTP.
    """

    form: Literal["files", "static"] = "files"
    tls: str = ""


class Production(msgspec.Struct, frozen=True, kw_only=True):
    """What exporters can't derive from the rest.

    ``replicas`` of each web process run at least and ``max_replicas`` at most. ``cpu`` (cores) is reserved for each
    process and ``cpu_limit`` what it may take; ``memory`` (MiB) is both. ``entry`` is how a Kubernetes cluster is
    entered, by the GatewayClass or IngressClass ``entry_class`` (empty: the cluster's default), with the certificate in
    ``tls_secret`` (empty: plain HTTP). ``data_networks`` are those of data stores outside of the cluster.
    ``gateway_networks`` are those that the gateway's pods have their addresses in. ``compose_subnet`` is the network
    between the gateway and the services in Compose (empty: one that follows from the platform's name).
    """

    hosts: tuple[str, ...]
    namespace: str
    image: Image
    gateway: Literal["kong", "envoy"] = "kong"
    broker: Literal["rabbitmq", "nats"] = "rabbitmq"
    discovery: Literal["dns", "consul"] = "dns"
    replicas: int = 2
    max_replicas: int = 6
    cpu: float = 0.25
    cpu_limit: float = 1.0
    memory: int = 384
    entry: Literal["gateway-api", "ingress"] = "gateway-api"
    entry_class: str = ""
    tls_secret: str = ""
    data_networks: tuple[str, ...] = ()
    gateway_networks: tuple[str, ...] = ()
    compose_subnet: str = ""
    images: Images = Images()
    kong: Kong = Kong()
    envoy: Envoy = Envoy()


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A whole platform. ``root`` is the folder that holds the manifest; services keep the order of the file.

    ``policy`` is what the policy of every call is to say, unless a service says something else.
    """

    name: str
    root: Path
    gateway: Gateway
    servers: Servers
    production: Production
    services: tuple[Service, ...]
    policy: dict[str, Any] = {}

    @property
    def state_folder(self) -> Path:
        """Where state, logs, keys and generated secrets of `bandstand up` live."""
        return self.root / ".bandstand"

    @property
    def service_names(self) -> tuple[str, ...]:
        """The names of the services in the order of the file."""
        return tuple(service.name for service in self.services)

    @property
    def processes(self) -> tuple[Process, ...]:
        """Every long-running process of every service."""
        return tuple(process for service in self.services for process in service.processes)

    @property
    def token_issuer(self) -> Service | None:
        """The service that issues user tokens, if one does."""
        return next((service for service in self.services if service.issues_user_tokens), None)

    def service(self, name: str) -> Service:
        """Return the service called ``name``.

        Raises:
            WorkspaceError: there is none; the hint names the nearest or all that there are.
        """
        for service in self.services:
            if service.name == name:
                return service
        near = get_close_matches(name, self.service_names, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(self.service_names)}."
        raise WorkspaceError(f"The platform {self.name} has no service {name!r}.", hint=hint)

    def client_policies(self, name: str) -> dict[str, Any]:
        """Return what the manifest says of the calls of the service ``name``, as that service reads it; else nothing.

        What holds for all of its calls, and below ``targets`` what holds for single ones.
        """
        own = self.service(name).policies
        return {**self.policy, **({"targets": own} if own else {})}

    def callers_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the services that may call the service ``name``: the inverse of ``calls``."""
        return tuple(service.name for service in self.services if name in service.calls)


def _masked(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}").geturl()
