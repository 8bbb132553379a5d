"""``compose.yaml`` and the files that its containers mount."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from bandstand.conf import wire
from bandstand.workspace.export.compose.addresses import services_network
from bandstand.workspace.export.compose.apps import apps, secret_name
from bandstand.workspace.export.compose.consul import ADMINISTRATOR as CONSUL_ADMINISTRATOR
from bandstand.workspace.export.compose.consul import CONFIGURATION as CONSUL_CONFIGURATION
from bandstand.workspace.export.compose.consul import accepted_tokens, token_secret, uses_consul
from bandstand.workspace.export.compose.gateways import gateway, gateway_files
from bandstand.workspace.export.compose.hardening import DATA, SERVICES, Json
from bandstand.workspace.export.compose.stores import (
    ADMINISTRATOR_SECRETS,
    BROKER_ADMINISTRATOR,
    DATABASES_SCRIPT,
    RABBITMQ_SETTINGS,
    RABBITMQ_SETTINGS_TEXT,
    databases_script,
    role_secrets,
    stores,
    volumes,
)
from bandstand.workspace.export.environment import secret_keys
from bandstand.workspace.export.files import File
from bandstand.workspace.export.headings import heading, mark
from bandstand.workspace.export.yaml import yaml_text
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.rotation import SECOND

__all__ = ["render_compose"]

_KIND: Final = "compose"

_INTRODUCTION: Final = """\
#
#   bandstand secrets --out secrets  makes passwords and keys beside this file, once
#   docker compose up -d --wait      starts, or goes on to the images that this file names
#
# Only the gateway is reachable, on the loopback interface; put a server that speaks TLS before it.
"""


def render_compose(workspace: Workspace) -> Iterator[File]:
    """Yield the Compose file, the gateway's configuration, and what stores are set up with."""
    yield _file("compose.yaml", heading(_KIND) + _INTRODUCTION + yaml_text(_project(workspace)))
    yield from gateway_files(workspace, _KIND)
    yield _file(DATABASES_SCRIPT, f"-- {mark(_KIND)} from bandstand.toml.\n{databases_script(workspace)}")
    if workspace.production.broker == "rabbitmq":
        yield _file(RABBITMQ_SETTINGS, heading(_KIND) + RABBITMQ_SETTINGS_TEXT)


def _project(workspace: Workspace) -> Json:
    containers = dict(pair for service in workspace.services for pair in apps(workspace, service))
    return {
        "name": workspace.name,
        "services": {"gateway": gateway(workspace), **containers, **dict(stores(workspace))},
        "networks": {SERVICES: services_network(workspace), DATA: {"internal": True}},
        "volumes": {name: {} for name in volumes(workspace)},
        "secrets": {name: {"file": f"./secrets/{path}"} for name, path in _secrets(workspace)},
    }


def _secrets(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield each secret with its file below ``secrets/``."""
    for service in workspace.services:
        yield from ((secret_name(service, key), f"{service.name}/{key}") for key in secret_keys(service))
    yield from ADMINISTRATOR_SECRETS
    for service in workspace.services:
        first, second = role_secrets(service)
        yield first, f"postgres/{service.name}"
        yield second, f"postgres/{service.name}{SECOND}"
    yield "valkey-users", "valkey/users.acl"
    if workspace.production.broker == "rabbitmq":
        yield "rabbitmq-definitions", "rabbitmq/definitions.json"
    else:
        yield "nats-configuration", "nats/nats.conf"
    yield BROKER_ADMINISTRATOR, f"{workspace.production.broker}/{wire.BROKER_ADMIN_URL}"
    if uses_consul(workspace):
        yield CONSUL_ADMINISTRATOR, "consul/administrator"
        yield CONSUL_CONFIGURATION, "consul/consul.json"
        yield from ((token_secret(name), f"{name}/{wire.DISCOVERY_TOKEN}") for name in workspace.service_names)
        yield from ((accepted_tokens(name), f"consul/{name}") for name in workspace.service_names)


def _file(path: str, content: str) -> File:
    return File(path=PurePosixPath(path), content=content)
