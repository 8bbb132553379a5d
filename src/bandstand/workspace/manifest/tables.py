"""What may be written in ``bandstand.toml``: one class for each table, one line for each key.

A key's type carries its rule and, as ``description``, what a fault tells the reader to write instead.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from bandstand.resilience import Policy
from bandstand.workspace import versions

__all__ = [
    "EnvoyTable",
    "GatewayTable",
    "ImageTable",
    "ImagesTable",
    "KongTable",
    "Manifest",
    "PlatformTable",
    "ProductionTable",
    "RateLimitTable",
    "RouteTable",
    "ServersTable",
    "ServiceTable",
    "Table",
    "UserKeyTable",
]

KEYS_OF: Final = "keys_of"
"""Marks a table that may hold any of the fields of another class."""

_NAME_RULE = "a name of 2 to 41 small letters, digits and hyphens that begins with a letter"

# A name becomes a DNS label, a database and a folder, so it ends with a letter or digit.
Name: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,39}[a-z0-9]\Z", description=_NAME_RULE)]
Names: TypeAlias = Annotated[tuple[str, ...], Meta(description='a list of service names, such as ["user-service"]')]
Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535, description="a port from 1 to 65535")]
Host: TypeAlias = Annotated[str, Meta(description='the address to listen on, such as "127.0.0.1"')]
Origins: TypeAlias = Annotated[
    tuple[str, ...], Meta(description='a list of origins, such as ["http://localhost:3000"]')
]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.1, le=300, description="seconds from 0.1 to 300")]
Bytes: TypeAlias = Annotated[
    int, Meta(ge=1024, le=104_857_600, description="a number of bytes from 1024 to 104857600 (100 MiB)")
]
# 0 is never written: it is the default, and stands for the limit of the gateway.
Count: TypeAlias = Annotated[
    int, Meta(ge=1, le=10_000_000, description="a whole number of requests from 1 to 10000000")
]
Flag: TypeAlias = Annotated[bool, Meta(description="true or false")]
Threads: TypeAlias = Annotated[int, Meta(ge=1, le=256, description="a whole number from 1 to 256")]
Folder: TypeAlias = Annotated[str, Meta(min_length=1, description="the folder of the service, as text")]
Module: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z",
        description='the Python package that holds settings.py and wsgi.py, such as "user_service"',
    ),
]
Commands: TypeAlias = Annotated[
    tuple[Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z")], ...],
    Meta(description='a list of names of management commands, such as ["seed_demo"]'),
]
ServerPlace: TypeAlias = Annotated[str, Meta(min_length=1, description='"embedded" or the URL of a server that exists')]
PostgresPlace: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        description='"embedded", "system", the folder of PostgreSQL\'s programs or the URL of a server that exists',
    ),
]
RabbitMqPlace: TypeAlias = Annotated[str, Meta(min_length=1, description='"system" or the URL of a server that exists')]
RoutePath: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*|/\.well-known)+/?\Z",
        max_length=200,
        description='a path such as "/api/v1/users"',
    ),
]
Hosts: TypeAlias = Annotated[
    tuple[
        Annotated[str, Meta(pattern=r"\A([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")],
        ...,
    ],
    Meta(min_length=1, description='a list of host names, such as ["shop.example"]'),
]
GatewayKind: TypeAlias = Annotated[Literal["kong", "envoy"], Meta(description='"kong" or "envoy"')]
BrokerKind: TypeAlias = Annotated[Literal["rabbitmq", "nats"], Meta(description='"rabbitmq" or "nats"')]
DiscoveryKind: TypeAlias = Annotated[Literal["dns", "consul"], Meta(description='"dns" or "consul"')]
EntryKind: TypeAlias = Annotated[
    Literal["gateway-api", "ingress"], Meta(description='"gateway-api" (an HTTPRoute) or "ingress"')
]
Label: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\Z",
        description="a Kubernetes name: small letters, digits, hyphens and dots, at most 63",
    ),
]
Networks: TypeAlias = Annotated[tuple[str, ...], Meta(description='a list of networks, such as ["10.20.0.0/16"]')]
Subnet: TypeAlias = Annotated[str, Meta(description='a network, such as "10.213.16.0/20"')]
Replicas: TypeAlias = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Cores: TypeAlias = Annotated[float, Meta(ge=0.01, le=256, description="processor cores, such as 0.25")]
Mebibytes: TypeAlias = Annotated[int, Meta(ge=64, le=1_048_576, description="a whole number of MiB of at least 64")]
ImagePrefix: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*\Z",
        description='what stands before "/user-service" in the names of images, such as "registry.example/shop"',
    ),
]
Tag: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A(?!latest\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z",
        description='the tag of a release, such as "1.4.2"; "latest" names none',
    ),
]
# Registry and repository, then a tag, a digest, or both.
ImageReference: TypeAlias = Annotated[
    str,
    Meta(
        pattern=(
            r"\A[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]{1,5}(?=/))?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*"
            r"(?=[:@])(:(?!latest(@|\Z))[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?\Z"
        ),
        description=(
            f'an image with its tag, its digest or both, such as "{versions.POSTGRES.image}" or '
            f'"{versions.POSTGRES.image}@sha256:" and 64 hexadecimal digits; the tag "latest" names no release'
        ),
    ),
]
# Of the context itself a folder above may be meant, of what lies in it never.
Context: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*\Z",
        description='a folder relative to the manifest, such as "." or ".."',
    ),
]
_INSIDE: Final = r"\A(\.|(?!\.\.?(/|\Z))[A-Za-z0-9._-]+(/(?!\.\.?(/|\Z))[A-Za-z0-9._-]+)*)\Z"
FileInside: TypeAlias = Annotated[
    str, Meta(pattern=_INSIDE, description='a file inside of the context, such as "requirements/production.txt"')
]
FoldersInside: TypeAlias = Annotated[
    tuple[Annotated[str, Meta(pattern=_INSIDE)], ...],
    Meta(description='a list of folders inside of the context that hold a pyproject.toml, such as ["."]'),
]
Counters: TypeAlias = Annotated[
    str, Meta(description='"local", or the URL of a Redis without its password, such as "redis://default@redis:6379"')
]
RoutePaths: TypeAlias = Annotated[
    tuple[str, ...], Meta(description='a list of paths of routes, such as ["/api/v1/orders"]')
]
KeyId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, description="the kid of a key, as text")]
KeyValue: TypeAlias = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z", description="the x of an Ed25519 public key: 43 characters of base64url"),
]
EnvoyForm: TypeAlias = Annotated[
    Literal["files", "static"],
    Meta(description='"files" (routes change while Envoy runs) or "static" (one file)'),
]
AbsoluteFolder: TypeAlias = Annotated[
    str, Meta(pattern=r"\A(/[A-Za-z0-9._-]+)+\Z", description='an absolute folder, such as "/etc/envoy/tls"')
]


# Any of the keys of a policy: what is not written is not said here, which a default could not tell apart.
PolicyKeys: TypeAlias = Annotated[dict[str, Any], Meta(extra={KEYS_OF: Policy})]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the manifest."""


class PlatformTable(Table, frozen=True, kw_only=True):
    """``[platform]``"""

    name: Name = ""


class RateLimitTable(Table, frozen=True, kw_only=True):
    """``rate_limit``: requests of one client address."""

    minute: Count = 0
    hour: Count = 0


class GatewayTable(Table, frozen=True, kw_only=True):
    """``[gateway]``"""

    host: Host = "127.0.0.1"
    port: Port = 8000
    cors_origins: Origins = ()
    rate_limit: RateLimitTable = RateLimitTable()
    timeout: Seconds = 10.0
    max_body_bytes: Bytes = 1_048_576
    trusted_proxies: Networks = ()


class ServersTable(Table, frozen=True, kw_only=True):
    """``[servers]``; an empty text stands for what is not written: of two brokers a platform has one."""

    postgres: PostgresPlace = "embedded"
    redis: ServerPlace = "embedded"
    nats: ServerPlace = ""
    rabbitmq: RabbitMqPlace = ""


class RouteTable(Table, frozen=True, kw_only=True):
    """``[[services.NAME.routes]]``"""

    path: RoutePath = ""
    rate_limit: RateLimitTable = RateLimitTable()


class ServiceTable(Table, frozen=True, kw_only=True):
    """``[services.NAME]``; an empty ``path`` or ``module`` stands for what follows from the name."""

    path: Folder = ""
    module: Module = ""
    calls: Names = ()
    issues_user_tokens: Flag = False
    seed: Commands = ()
    worker: Flag = True
    threads: Threads = 8
    cpu: Cores | None = None
    cpu_limit: Cores | None = None
    memory: Mebibytes | None = None
    routes: tuple[RouteTable, ...] = ()
    policies: dict[Name, PolicyKeys] = {}


class ImageTable(Table, frozen=True, kw_only=True):
    """``[production.image]``; an empty ``prefix`` stands for the name of the platform."""

    prefix: ImagePrefix = ""
    tag: Tag = "0.1.0"
    context: Context = "."
    requirements: FileInside = "requirements/production.txt"
    packages: FoldersInside = ()
    build_requirements: FileInside = "requirements/build.txt"


class ImagesTable(Table, frozen=True, kw_only=True):
    """``[production.images]``"""

    python: ImageReference = versions.PYTHON.image
    postgres: ImageReference = versions.POSTGRES.image
    valkey: ImageReference = versions.VALKEY.image
    rabbitmq: ImageReference = versions.RABBITMQ.image
    nats: ImageReference = versions.NATS.image
    consul: ImageReference = versions.CONSUL.image
    kong: ImageReference = versions.KONG.image
    envoy: ImageReference = versions.ENVOY.image


class UserKeyTable(Table, frozen=True, kw_only=True):
    """``[[production.kong.user_keys]]``: ``kid`` and ``x`` of an Ed25519 key, as the key set publishes them."""

    kid: KeyId = ""
    x: KeyValue = ""


class KongTable(Table, frozen=True, kw_only=True):
    """``[production.kong]``"""

    counters: Counters = "local"
    token_routes: RoutePaths = ()
    user_keys: tuple[UserKeyTable, ...] = ()


class EnvoyTable(Table, frozen=True, kw_only=True):
    """``[production.envoy]``; an empty ``tls`` stands for plain HTTP."""

    form: EnvoyForm = "files"
    tls: AbsoluteFolder = ""


class ProductionTable(Table, frozen=True, kw_only=True):
    """``[production]``; empty ``hosts`` and an empty ``namespace`` stand for what follows from the platform's name."""

    hosts: Hosts = ()
    gateway: GatewayKind = "kong"
    broker: BrokerKind = "rabbitmq"
    discovery: DiscoveryKind = "dns"
    replicas: Replicas = 2
    max_replicas: Replicas = 6
    cpu: Cores = 0.25
    cpu_limit: Cores = 1.0
    memory: Mebibytes = 384
    namespace: Label = ""
    entry: EntryKind = "gateway-api"
    entry_class: Label = ""
    tls_secret: Label = ""
    data_networks: Networks = ()
    gateway_networks: Networks = ()
    compose_subnet: Subnet = ""
    image: ImageTable = ImageTable()
    images: ImagesTable = ImagesTable()
    kong: KongTable = KongTable()
    envoy: EnvoyTable = EnvoyTable()


class Manifest(Table, frozen=True, kw_only=True):
    """The whole file."""

    platform: PlatformTable = PlatformTable()
    gateway: GatewayTable = GatewayTable()
    servers: ServersTable = ServersTable()
    policy: PolicyKeys = {}
    production: ProductionTable = ProductionTable()
    services: dict[Name, ServiceTable] = {}
