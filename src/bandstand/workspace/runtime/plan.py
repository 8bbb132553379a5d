"""From a workspace and the facts of this machine to everything that `bandstand up` is going to do, as data."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bandstand.workspace.export.envoy import GatewayRuntime
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.manifest.connections import max_connections, role_limit
from bandstand.workspace.runtime.accounts import ADMINISTRATOR
from bandstand.workspace.runtime.environment import Addresses, service_environment
from bandstand.workspace.runtime.facts import Access, Facts
from bandstand.workspace.runtime.remedies import remedies
from bandstand.workspace.runtime.resources import File, Plan, Resource, Stage, Step
from bandstand.workspace.runtime.servers.base import Place
from bandstand.workspace.runtime.servers.databases import DatabasePlan, PrepareDatabases, RecordDatabase
from bandstand.workspace.runtime.servers.definitions import rabbitmq_url
from bandstand.workspace.runtime.servers.envoy import plan_envoy, plan_gateway_told
from bandstand.workspace.runtime.servers.existing import plan_existing
from bandstand.workspace.runtime.servers.nats import nats_url, plan_nats
from bandstand.workspace.runtime.servers.postgres import Login, plan_postgres
from bandstand.workspace.runtime.servers.rabbitmq import PORT_MAPPER, RabbitMqPorts, plan_rabbitmq
from bandstand.workspace.runtime.servers.redis import plan_redis, redis_url
from bandstand.workspace.runtime.services import ServicePlan, migrate_name, seed_names

__all__ = ["DATABASES", "environment_of", "gateway_runtime", "make_plan", "place_of"]

DATABASES = "databases"


def make_plan(workspace: Workspace, facts: Facts, *, migrate_always: bool = False) -> Plan:
    """Plan the whole platform. Whatever a resource comes after or needs stands before it.

    ``migrate_always`` runs migrations also where nothing changed since they ran last.
    """
    resources: list[Resource] = []
    files: list[File] = []
    resources += (
        plan_existing(server, workspace.name, workspace.service_names)
        for server in workspace.servers
        if server.is_external
    )
    for more_resources, more_files in _servers(workspace, facts):
        resources += more_resources
        files += more_files
    resources.append(_databases(workspace, facts, migrate_always=migrate_always))
    for service in workspace.services:
        resources += _service(workspace, service, facts)
    if facts.binaries.envoy is not None:
        resources.append(plan_gateway_told(workspace, gateway_runtime(facts)))
    return Plan(resources=tuple(resources), files=tuple(files), notices=tuple(_notices(workspace, facts)))


def gateway_runtime(facts: Facts) -> GatewayRuntime:
    """Where the gateway runs, before any service is ready."""
    return GatewayRuntime(
        port=facts.ports["gateway"], admin_port=facts.ports["gateway-admin"], xds_dir=facts.folder.envoy
    )


def environment_of(workspace: Workspace, service: Service, access: Access) -> dict[str, str]:
    """The environment of the processes of ``service``, and of a command that somebody runs by hand for it."""
    credentials = access.credentials
    addresses = Addresses(
        secret_keys=credentials.secret_keys(service.name),
        database_url=_logins(workspace, service, access)[0].url,
        cache_url=workspace.servers.redis.url
        or redis_url(credentials.accounts("redis", [service.name])[0], access.ports["redis"]),
        broker_url=_broker_url(workspace, service, access),
        gateway_url=f"http://127.0.0.1:{access.ports['gateway']}",
    )
    return service_environment(workspace, service, addresses, access.folder, access.base)


def _broker_url(workspace: Workspace, service: Service, access: Access) -> str:
    broker = workspace.servers.broker
    if broker.url is not None:
        return broker.url
    account, port = access.credentials.accounts(broker.kind, [service.name])[0], access.ports[broker.kind]
    return rabbitmq_url(account, port) if broker.kind == "rabbitmq" else nats_url(account, port)


def _servers(workspace: Workspace, facts: Facts) -> Iterator[tuple[list[Resource], list[File]]]:
    folder, programs, names = facts.folder, facts.binaries, workspace.service_names
    if programs.postgres is not None:
        yield plan_postgres(
            place_of(facts, "postgres", folder.postgres),
            binaries=programs.postgres,
            administrator=_administrators(workspace, facts)[0],
            account=facts.account,
            connections=max_connections(workspace.services),
            exists=facts.has_cluster,
        )
    if programs.valkey is not None:
        yield plan_redis(
            place_of(facts, "redis", folder.redis),
            binary=programs.valkey,
            port=facts.ports["redis"],
            administrators=facts.credentials.administrators("redis", ADMINISTRATOR),
            accounts=facts.credentials.accounts("redis", names),
        )
    if programs.nats is not None:
        yield plan_nats(
            place_of(facts, "nats", folder.nats),
            binary=programs.nats,
            port=facts.ports["nats"],
            platform=workspace.name,
            services=names,
            administrators=facts.credentials.administrators("nats", ADMINISTRATOR),
            accounts=facts.credentials.accounts("nats", names),
        )
    if programs.rabbitmq is not None:
        yield plan_rabbitmq(
            place_of(facts, "rabbitmq", folder.rabbitmq),
            programs=programs.rabbitmq,
            ports=RabbitMqPorts(
                clients=facts.ports["rabbitmq"],
                distribution=facts.ports["rabbitmq-distribution"],
                mapper=facts.ports[PORT_MAPPER],
            ),
            platform=workspace.name,
            services=names,
            administrators=facts.credentials.administrators("rabbitmq", ADMINISTRATOR),
            accounts=facts.credentials.accounts("rabbitmq", names),
        )
    if programs.envoy is not None:
        yield plan_envoy(
            place_of(facts, "gateway", folder.envoy),
            workspace=workspace,
            runtime=gateway_runtime(facts),
            binary=programs.envoy,
        )


def place_of(facts: Facts, name: str, folder: Path) -> Place:
    """Where the server ``name`` runs."""
    return Place(folder=folder, log=facts.folder.log(name), environment=facts.base)


def _databases(workspace: Workspace, facts: Facts, *, migrate_always: bool) -> Step:
    return Step(
        name=DATABASES,
        label="Databases and roles",
        stage=Stage.TASK,
        after=("postgres",),
        action=PrepareDatabases(
            administrators=_administrators(workspace, facts),
            owned=not workspace.servers.postgres.is_external,
            databases=tuple(
                DatabasePlan(
                    logins=_logins(workspace, service, facts),
                    fingerprint="" if migrate_always else facts.fingerprints[service.name],
                    migrate=migrate_name(service),
                    seeds=seed_names(service),
                    connections=role_limit(service),
                )
                for service in workspace.services
            ),
        ),
    )


def _service(workspace: Workspace, service: Service, facts: Facts) -> Iterator[Resource]:
    login = _logins(workspace, service, facts)[0]
    return ServicePlan(
        service=service,
        folder=facts.folder,
        python=facts.python,
        environment=environment_of(workspace, service, facts),
        port=facts.ports[f"{service.name}-web"],
        databases=DATABASES,
        servers=tuple(server.kind for server in workspace.servers),
        request_timeout=workspace.gateway.timeout,
        migrated=RecordDatabase(login=login, fingerprint=facts.fingerprints[service.name]),
        seeded=RecordDatabase(login=login, seeded=True),
        remedies=remedies(workspace.servers.postgres),
    ).resources()


def _administrators(workspace: Workspace, access: Access) -> tuple[Login, ...]:
    """Return the logins that may make roles and databases: superusers of our own cluster, or the one in the URL."""
    url = workspace.servers.postgres.url
    if url is not None:
        return (Login.parse(url),)
    accounts = access.credentials.administrators("postgres", "postgres")
    return tuple(
        Login(port=access.ports["postgres"], user=each.user, password=each.password, database="postgres")
        for each in accounts
    )


def _logins(workspace: Workspace, service: Service, access: Access) -> tuple[Login, ...]:
    """The logins of a service that are accepted; the first is in use."""
    administrator = _administrators(workspace, access)[0]
    accounts = access.credentials.accounts("postgres", [service.name], user=lambda _: service.identifier)
    return tuple(
        msgspec.structs.replace(administrator, user=each.user, password=each.password, database=service.identifier)
        for each in accounts
    )


def _notices(workspace: Workspace, facts: Facts) -> Iterator[str]:
    wanted, port = workspace.gateway.port, facts.ports["gateway"]
    if port != wanted:
        yield f"Port {wanted} is taken, so the gateway listens on {port}."
