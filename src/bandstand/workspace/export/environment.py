"""What a service's containers read: the same variables in Compose and in Kubernetes, and every secret from a file."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from bandstand.conf import wire
from bandstand.workspace.export.deployment import DRAIN_SECONDS, SECRETS_FOLDER, WORKER_PORT
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.manifest.connections import web_pool, worker_pool

__all__ = ["SERVICE_KEY", "TRUSTED_KEYS", "USER_KEY", "Role", "container_environment", "secret_keys"]

Role = Literal["web", "worker", "command"]

# The names of files, in the Secret of each service.
SERVICE_KEY: Final = "SERVICE_KEY"
TRUSTED_KEYS: Final = "TRUSTED_KEYS"
USER_KEY: Final = "USER_KEY"

# Only where Consul is the registry: Compose adds it.
_SECRETS: Final = tuple(name for name in wire.SECRETS if name != wire.DISCOVERY_TOKEN)


def secret_keys(service: Service, role: Role = "web") -> tuple[str, ...]:
    """Return the names of the files with the secrets of a container of ``service``; its web processes have all of them.

    A worker or a migration has no business with the key that signs for users.
    """
    own = (USER_KEY,) if service.issues_user_tokens and role == "web" else ()
    return (*_SECRETS, SERVICE_KEY, TRUSTED_KEYS, *own)


def container_environment(
    workspace: Workspace, service: Service, role: Role, *, discovery: str, gateways: Iterable[str]
) -> dict[str, str]:
    """Return the variables of a container of ``service``.

    ``discovery`` is its ``DISCOVERY_URL``. ``gateways`` are the networks of the gateway: with the load balancers before
    it, the only ones that may name the address of a client.
    """
    hosts = workspace.production.hosts
    return {
        wire.SERVICE: service.name,
        wire.PLATFORM: workspace.name,
        wire.PROCESS: role,
        wire.DEBUG: "false",
        wire.ADMIN: "false",
        wire.LOG_FORMAT: "json",
        wire.LOG_LEVEL: "INFO",
        # The other services call it by its name, probes by localhost, Prometheus by its address.
        wire.ALLOWED_HOSTS: ",".join((*hosts, service.name, "localhost", wire.OWN_ADDRESS)),
        wire.CSRF_TRUSTED_ORIGINS: ",".join(f"https://{host}" for host in hosts),
        wire.TRUSTED_PROXIES: ",".join((*gateways, *workspace.gateway.trusted_proxies)),
        wire.DISCOVERY_URL: discovery,
        **_policies(workspace, service),
        **_identity(workspace, service, role),
        **{f"{name}{wire.FILE_SUFFIX}": f"{SECRETS_FOLDER}/{name}" for name in _SECRETS},
        **_process(service, role),
    }


def _policies(workspace: Workspace, service: Service) -> dict[str, str]:
    policies = workspace.client_policies(service.name)
    return {wire.CLIENT_POLICIES: msgspec.json.encode(policies).decode()} if policies else {}


def _identity(workspace: Workspace, service: Service, role: Role) -> dict[str, str]:
    issuer = workspace.token_issuer
    return {
        wire.ALLOWED_CALLERS: ",".join(workspace.callers_of(service.name)),
        wire.SERVICE_KEY_FILE: f"{SECRETS_FOLDER}/{SERVICE_KEY}",
        wire.TRUSTED_KEYS_FILE: f"{SECRETS_FOLDER}/{TRUSTED_KEYS}",
        **({wire.USER_KEY_FILE: f"{SECRETS_FOLDER}/{USER_KEY}"} if USER_KEY in secret_keys(service, role) else {}),
        **({wire.USER_JWKS_URL: f"http://{issuer.name}/.well-known/jwks.json"} if issuer else {}),
    }


def _process(service: Service, role: Role) -> dict[str, str]:
    match role:
        case "web":
            return {
                wire.DRAIN_SECONDS: str(DRAIN_SECONDS),
                wire.DATABASE_POOL_SIZE: str(web_pool(service)),
                wire.THREADS: str(service.threads),
                wire.MEMORY: str(service.memory),
            }
        case "worker":
            return {
                wire.WORKER_PORT: f"0.0.0.0:{WORKER_PORT}",
                wire.DATABASE_POOL_SIZE: str(worker_pool(service)),
            }
        case "command":
            return {wire.DATABASE_POOL_SIZE: "1"}
