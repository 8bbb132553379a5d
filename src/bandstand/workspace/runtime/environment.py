"""The environment of a service's processes: every variable that ``bandstand.conf.wire`` names, and little else."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

import msgspec

from bandstand.conf import wire
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.manifest.connections import web_pool
from bandstand.workspace.runtime import keys
from bandstand.workspace.runtime.folder import StateFolder

__all__ = ["Addresses", "base_environment", "remove_libpq_variables", "service_environment"]

# What the surroundings of the runner must not decide: every variable of the wire, and what names another project.
# The switches of fault tests are meant to come from outside.
_OWN: Final = (
    frozenset(value for name, value in vars(wire).items() if name.isupper() and isinstance(value, str))
    | {f"{name}{wire.FILE_SUFFIX}" for name in wire.SECRETS}
) - {wire.TESTING, wire.FAILPOINTS}
_LIBPQ: Final = "PG"
_FOREIGN: Final = (
    "GRANIAN_",
    "DJANGO_",
    "PYTEST_",
    "COVERAGE_",
    _LIBPQ,
    "REDIS",
    "VALKEY",
    "NATS_",
    "RABBITMQ_",
    "ERL_",
)
# Variables that change how a Python process starts: its module path, its checks, its end.
_PYTHON: Final = frozenset(
    {
        "PYTHONHOME",
        "PYTHONINSPECT",
        "PYTHONIOENCODING",
        "PYTHONOPTIMIZE",
        "PYTHONSAFEPATH",
        "PYTHONSTARTUP",
        "PYTHONWARNINGS",
    }
)


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where one service finds what it uses; the URLs hold its own passwords. Of the secret keys the first signs."""

    secret_keys: tuple[str, ...]
    database_url: str
    cache_url: str
    broker_url: str
    gateway_url: str

    def __repr__(self) -> str:
        return "Addresses(…)"


def base_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """Return what every process inherits from the environment ``outer`` of the runner."""
    left_out = _OWN | _PYTHON
    return {name: value for name, value in outer.items() if name not in left_out and not name.startswith(_FOREIGN)}


def remove_libpq_variables(environment: MutableMapping[str, str]) -> None:
    """Remove the variables by which PostgreSQL's client library would connect otherwise than its caller says.

    ``PGSSLMODE``, ``PGSERVICE``, ``PGOPTIONS`` and the like are defaults for every connection of a process; what the
    runner and the services are to use is in their URLs.
    """
    for name in [name for name in environment if name.startswith(_LIBPQ)]:
        del environment[name]


def service_environment(
    workspace: Workspace, service: Service, addresses: Addresses, folder: StateFolder, base: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of every process of ``service``; each adds ``BANDSTAND_PROCESS``."""
    return {
        **base,
        "DJANGO_SETTINGS_MODULE": service.settings_module,
        "PYTHONUNBUFFERED": "1",
        wire.SERVICE: service.name,
        wire.PLATFORM: workspace.name,
        wire.PROCESS: "command",
        wire.DEBUG: "true",
        wire.LOG_FORMAT: "json",
        wire.LOG_LEVEL: "INFO",
        wire.ALLOWED_HOSTS: ",".join(("localhost", "127.0.0.1", "[::1]", service.name)),
        wire.CSRF_TRUSTED_ORIGINS: ",".join(_origins(addresses.gateway_url)),
        wire.SECRET_KEY: "\n".join(addresses.secret_keys),
        wire.DATABASE_URL: addresses.database_url,
        wire.DATABASE_POOL_SIZE: str(web_pool(service)),
        wire.THREADS: str(service.threads),
        wire.CACHE_URL: addresses.cache_url,
        wire.BROKER_URL: addresses.broker_url,
        wire.DISCOVERY_URL: _file_url(folder.registry),
        wire.EMAIL_URL: _file_url(folder.mail),
        # Nobody sends requests any more when a service is stopped here: the gateway went before.
        wire.DRAIN_SECONDS: "0",
        wire.ADMIN: "true",
        # The gateway, which runs on this machine, and the load balancers before it.
        wire.TRUSTED_PROXIES: ",".join(("127.0.0.1/32", "::1/128", *workspace.gateway.trusted_proxies)),
        wire.CLIENT_POLICIES: msgspec.json.encode(workspace.client_policies(service.name)).decode(),
        **_identity(workspace, service, folder.keys),
    }


def _identity(workspace: Workspace, service: Service, folder: Path) -> dict[str, str]:
    issuer = workspace.token_issuer
    return {
        wire.SERVICE_KEY_FILE: str(keys.service_key(folder, service.name)),
        wire.TRUSTED_KEYS_FILE: str(keys.trusted_keys(folder)),
        wire.ALLOWED_CALLERS: ",".join(workspace.callers_of(service.name)),
        wire.USER_KEY_FILE: str(keys.user_key(folder, service.name)) if service.issues_user_tokens else "",
        wire.USER_JWKS_URL: f"http://{issuer.name}/.well-known/jwks.json" if issuer else "",
    }


def _file_url(path: Path) -> str:
    return path.absolute().as_uri()


def _origins(url: str) -> tuple[str, ...]:
    """The gateway under both names of this machine."""
    return (url, url.replace("127.0.0.1", "localhost")) if "127.0.0.1" in url else (url,)
