"""A service's own containers: a job that migrates, its web processes, its worker."""

from collections.abc import Iterator

from bandstand.conf import wire
from bandstand.workspace.export.compose.addresses import gateway_address
from bandstand.workspace.export.compose.consul import TOKENS_JOB, token_secret, uses_consul
from bandstand.workspace.export.compose.hardening import (
    DATA,
    SERVICES,
    Json,
    app_limits,
    container,
    healthcheck,
    secrets,
)
from bandstand.workspace.export.compose.stores import BROKER_TOPOLOGY
from bandstand.workspace.export.deployment import (
    SECRETS_FOLDER,
    WEB_PORT,
    WORKER_PORT,
    migrate_command,
    probe_command,
    stop_seconds,
    worker_command,
    worker_stop_seconds,
)
from bandstand.workspace.export.environment import Role, container_environment, secret_keys
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["apps", "migrate_name", "secret_name"]

_DISCOVERY = {"dns": f"dns://?port={WEB_PORT}", "consul": "consul://consul:8500"}


def migrate_name(service: Service) -> str:
    """The name of the job that migrates ``service``."""
    return f"{service.name}-migrate"


def secret_name(service: Service, key: str) -> str:
    """The name of a secret of ``service`` among all of the file."""
    return f"{service.name}-{key.lower().replace('_', '-')}"


def apps(workspace: Workspace, service: Service) -> Iterator[tuple[str, Json]]:
    """Yield the containers of ``service`` by their names; its web processes have the service's own."""
    yield migrate_name(service), _migrate(workspace, service)
    yield service.name, _web(workspace, service)
    if service.worker:
        yield f"{service.name}-worker", _worker(workspace, service)


def _migrate(workspace: Workspace, service: Service) -> Json:
    """Once for each `up`, before the new release starts; the release before must live with what it changes."""
    return _app(workspace, service, "command") | {
        "command": migrate_command(),
        "restart": "no",
        "networks": [DATA],
        "depends_on": {"databases": {"condition": "service_completed_successfully"}},
        "healthcheck": {"disable": True},
        "deploy": app_limits(service),
    }


def _web(workspace: Workspace, service: Service) -> Json:
    return _app(workspace, service, "web") | {
        "stop_grace_period": f"{stop_seconds(workspace)}s",
        "depends_on": _after(workspace, service),
        "healthcheck": healthcheck(*probe_command(WEB_PORT)),
        "deploy": app_limits(service, replicas=workspace.production.replicas),
    }


def _worker(workspace: Workspace, service: Service) -> Json:
    return _app(workspace, service, "worker") | {
        "command": worker_command(),
        "stop_grace_period": f"{worker_stop_seconds()}s",
        "depends_on": _after(workspace, service, workspace.production.broker),
        "healthcheck": healthcheck(*probe_command(WORKER_PORT)),
        "deploy": app_limits(service),
    }


def _after(workspace: Workspace, service: Service, *stores: str) -> Json:
    topology = (BROKER_TOPOLOGY,) if workspace.production.broker in stores else ()
    registry, tokens = (("consul",), (TOKENS_JOB,)) if uses_consul(workspace) else ((), ())
    jobs = (migrate_name(service), *topology, *tokens)
    return {
        **{job: {"condition": "service_completed_successfully"} for job in jobs},
        **{store: {"condition": "service_healthy"} for store in ("valkey", *registry, *stores)},
    }


def _app(workspace: Workspace, service: Service, role: Role) -> Json:
    environment = container_environment(
        workspace,
        service,
        role,
        discovery=_DISCOVERY[workspace.production.discovery],
        gateways=(f"{gateway_address(workspace)}/32",),
    )
    files = [(secret_name(service, key), key) for key in secret_keys(service, role)]
    if uses_consul(workspace) and role != "command":  # which calls nobody
        environment[f"{wire.DISCOVERY_TOKEN}{wire.FILE_SUFFIX}"] = f"{SECRETS_FOLDER}/{wire.DISCOVERY_TOKEN}"
        files.append((token_secret(service.name), wire.DISCOVERY_TOKEN))
    return container(
        workspace.production.image.name(service.name),
        networks=(SERVICES, DATA),
        environment=environment,
        secrets=secrets(files),
    )
