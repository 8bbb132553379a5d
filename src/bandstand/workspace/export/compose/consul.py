"""Consul with access control, and the job that gives each service a token for its own name."""

import shlex
from typing import Final
from uuid import NAMESPACE_DNS, uuid5

from bandstand.conf import wire
from bandstand.workspace.export.compose.hardening import (
    DATA,
    SERVICES,
    Json,
    container,
    healthcheck,
    limits,
    secrets,
)
from bandstand.workspace.manifest import Images, Workspace

__all__ = ["ADMINISTRATOR", "CONFIGURATION", "TOKENS_JOB", "consul", "consul_tokens", "token_secret", "uses_consul"]

TOKENS_JOB: Final = "consul-tokens"
# Names of secrets in the Compose file.
ADMINISTRATOR: Final = "consul-administrator"
CONFIGURATION: Final = "consul-configuration"

_ADMINISTRATOR_FILE: Final = f"/run/secrets/{ADMINISTRATOR}"


def uses_consul(workspace: Workspace) -> bool:
    """Return whether services find each other by Consul."""
    return workspace.production.discovery == "consul"


def token_secret(service: str) -> str:
    """Return the name of the secret with the token of ``service`` in the Compose file."""
    return f"{service}-{wire.DISCOVERY_TOKEN.lower().replace('_', '-')}"


def consul(images: Images) -> Json:
    """Return the one server. Services register again by themselves, so it holds nothing else of value but tokens."""
    return container(
        images.consul,
        networks=(DATA, SERVICES),
        user="consul",
        command=[
            *("agent", "-server", "-bootstrap-expect=1", "-node=consul", "-data-dir=/consul/data"),
            *("-client=0.0.0.0", '-bind={{ GetInterfaceIP "eth0" }}', "-disable-host-node-id", "-log-level=warn"),
            "-config-file=/run/secrets/consul.json",
        ],
        secrets=secrets([(CONFIGURATION, "consul.json"), (ADMINISTRATOR, ADMINISTRATOR)]),
        volumes=["consul:/consul/data"],
        healthcheck=healthcheck("consul", "operator", "raft", "list-peers", f"-token-file={_ADMINISTRATOR_FILE}"),
        deploy=limits(0.5, 256),
    )


def consul_tokens(workspace: Workspace) -> Json:
    """Return the job that creates each service's token as its file has it, and revokes the one before."""
    names = workspace.service_names
    return container(
        workspace.production.images.consul,
        networks=(DATA,),
        user="consul",
        entrypoint=["sh", "-c", "\n".join([_PROLOGUE, *(_token(workspace, name) for name in names)])],
        environment={"CONSUL_HTTP_ADDR": "http://consul:8500"},
        secrets=secrets((name, name) for name in (ADMINISTRATOR, *map(token_secret, names))),
        depends_on={"consul": {"condition": "service_healthy"}},
        deploy=limits(0.5, 128),
    ) | {"restart": "no"}


# A `$` is doubled, since Compose replaces variables by itself. A service identity, as Consul calls it, is the right to
# register that name alone, and to read every name and node; a worker that is asked to registers under one of its own.
_PROLOGUE: Final = f"""\
set -eu
administrator="$$(cat {_ADMINISTRATOR_FILE})"
token() {{
  secret="$$(cat "/run/secrets/$$3")"
  if CONSUL_HTTP_TOKEN="$$secret" consul acl token read -self >/dev/null 2>&1; then return; fi
  export CONSUL_HTTP_TOKEN="$$administrator"
  consul acl token delete -id="$$2" >/dev/null 2>&1 || true
  consul acl token create -accessor="$$2" -secret="$$secret" -description="$$1" \\
    -service-identity="$$1" -service-identity="$$1-worker" >/dev/null
}}"""


def _token(workspace: Workspace, service: str) -> str:
    """Return the command for one service. The accessor id follows from its name, so a new secret replaces the old."""
    accessor = uuid5(NAMESPACE_DNS, f"{service}.{workspace.name}")
    return shlex.join(["token", service, str(accessor), token_secret(service)])
