"""Consul with access control, and the job that gives each service a token for its own name."""

import shlex
from typing import Final

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

__all__ = [
    "ADMINISTRATOR",
    "CONFIGURATION",
    "TOKENS_JOB",
    "accepted_tokens",
    "consul",
    "consul_tokens",
    "token_secret",
    "uses_consul",
]

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


def accepted_tokens(service: str) -> str:
    """Return the name of the secret with all tokens of ``service`` that Consul is to know."""
    return f"consul-{service}"


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
    """Return the job that creates the tokens of each service as its file has them, and revokes all others."""
    names = workspace.service_names
    commands = (shlex.join(["tokens", name, accepted_tokens(name)]) for name in names)
    return container(
        workspace.production.images.consul,
        networks=(DATA,),
        user="consul",
        entrypoint=["sh", "-c", "\n".join([_PROLOGUE, *commands])],
        environment={"CONSUL_HTTP_ADDR": "http://consul:8500"},
        secrets=secrets((name, name) for name in (ADMINISTRATOR, *map(accepted_tokens, names))),
        depends_on={"consul": {"condition": "service_healthy"}},
        deploy=limits(0.5, 128),
    ) | {"restart": "no"}


# A `$` is doubled, since Compose replaces variables by itself. A service identity, as Consul calls it, is the right to
# register that name alone, and to read every name and node; a worker that is asked to registers under one of its own.
# A line of a service's file is an accessor id and a secret.
_PROLOGUE: Final = f"""\
set -eu
CONSUL_HTTP_TOKEN="$$(cat {_ADMINISTRATOR_FILE})"
export CONSUL_HTTP_TOKEN
tokens() {{
  while read -r accessor secret; do
    if CONSUL_HTTP_TOKEN="$$secret" consul acl token read -self >/dev/null 2>&1; then continue; fi
    consul acl token create -accessor="$$accessor" -secret="$$secret" -description="$$1" \\
      -service-identity="$$1" -service-identity="$$1-worker" >/dev/null
  done <"/run/secrets/$$2"
  consul acl token list | awk -v name="$$1" '/^AccessorID:/ {{id=$$2}} /^Description:/ && $$2 == name {{print id}}' |
    while read -r accessor; do
      grep -q "^$$accessor " "/run/secrets/$$2" || consul acl token delete -id="$$accessor" >/dev/null
    done
}}"""
