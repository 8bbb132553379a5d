"""From a workspace and the facts of this machine to everything that `bandstand up` is going to do, as data."""

from collections.abc import Iterator
from pathlib import Path

from bandstand.workspace.export.envoy import GatewayRuntime
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.manifest.connections import max_connections, role_limit
from bandstand.workspace.runtime.environment import Addresses, service_environment
from bandstand.workspace.runtime.facts import Access, Facts
from bandstand.workspace.runtime.remedies import remedies
from bandstand.workspace.runtime.resources import File, Plan, Resource, Stage, Step
from bandstand.workspace.runtime.servers.base import Place
from bandstand.workspace.runtime.servers.databases import DatabasePlan, PrepareDatabases, RecordDatabase
from bandstand.workspace.runtime.servers.definitions import RabbitMqUser
from bandstand.workspace.runtime.servers.envoy import plan_envoy, plan_gateway_told
from bandstand.workspace.runtime.servers.existing import plan_existing
from bandstand.workspace.runtime.servers.nats import NatsUser, plan_nats
from bandstand.workspace.runtime.servers.postgres import Login, plan_postgres
from bandstand.workspace.runtime.servers.rabbitmq import PORT_MAPPER, RabbitMqPorts, plan_rabbitmq
from bandstand.workspace.runtime.servers.redis import RedisUser, plan_redis
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
    credentials = access.credentials.services[service.name]
    redis = workspace.servers.redis.url
    addresses = Addresses(
        secret_key=credentials.secret_key,
        database_url=_login(workspace, service, access).url,
        cache_url=redis or RedisUser(name=service.name, password=credentials.redis).url(access.ports["redis"]),
        broker_url=_broker_url(workspace, service, access),
        gateway_url=f"http://127.0.0.1:{access.ports['gateway']}",
    )
    return service_environment(workspace, service, addresses, access.folder, access.base)


def _broker_url(workspace: Workspace, service: Service, access: Access) -> str:
    broker, credentials = workspace.servers.broker, access.credentials.services[service.name]
    if broker.url is not None:
        return broker.url
    if broker.kind == "rabbitmq":
        return RabbitMqUser(name=service.name, password=credentials.rabbitmq).url(access.ports["rabbitmq"])
    return NatsUser(name=service.name, password=credentials.nats).url(access.ports["nats"])


def _servers(workspace: Workspace, facts: Facts) -> Iterator[tuple[list[Resource], list[File]]]:
    folder, programs, known = facts.folder, facts.binaries, facts.credentials.services
    if programs.postgres is not None:
        yield plan_postgres(
            place_of(facts, "postgres", folder.postgres),
            binaries=programs.postgres,
            administrator=_administrator(workspace, facts),
            account=facts.account,
            connections=max_connections(workspace.services),
            exists=facts.has_cluster,
        )
    if programs.valkey is not None:
        yield plan_redis(
            place_of(facts, "redis", folder.redis),
            binary=programs.valkey,
            port=facts.ports["redis"],
            password=facts.credentials.redis,
            users=[RedisUser(name=name, password=known[name].redis) for name in workspace.service_names],
        )
    if programs.nats is not None:
        yield plan_nats(
            place_of(facts, "nats", folder.nats),
            binary=programs.nats,
            port=facts.ports["nats"],
            platform=workspace.name,
            password=facts.credentials.nats,
            users=[NatsUser(name=name, password=known[name].nats) for name in workspace.service_names],
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
            password=facts.credentials.rabbitmq,
            users=[RabbitMqUser(name=name, password=known[name].rabbitmq) for name in workspace.service_names],
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
            administrator=_administrator(workspace, facts),
            closed=() if workspace.servers.postgres.is_external else ("postgres", "template1"),
            databases=tuple(
                DatabasePlan(
                    login=_login(workspace, service, facts),
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
    login = _login(workspace, service, facts)
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


def _administrator(workspace: Workspace, access: Access) -> Login:
    """Who may make roles and databases: of our own cluster its superuser, else whom the URL names."""
    url = workspace.servers.postgres.url
    if url is None:
        return Login(
            port=access.ports["postgres"], user="postgres", password=access.credentials.postgres, database="postgres"
        )
    return Login.parse(url)


def _login(workspace: Workspace, service: Service, access: Access) -> Login:
    administrator = _administrator(workspace, access)
    return Login(
        host=administrator.host,
        port=administrator.port,
        user=service.identifier,
        password=access.credentials.services[service.name].postgres,
        database=service.identifier,
        query=administrator.query,
    )


def _notices(workspace: Workspace, facts: Facts) -> Iterator[str]:
    wanted, port = workspace.gateway.port, facts.ports["gateway"]
    if port != wanted:
        yield f"Port {wanted} is taken, so the gateway listens on {port}."
