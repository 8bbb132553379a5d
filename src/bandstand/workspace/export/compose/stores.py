"""Databases and brokers: each with a volume of its own, reachable from the services alone."""

from collections.abc import Iterator
from typing import Final

from bandstand.conf import wire
from bandstand.workspace import versions
from bandstand.workspace.export.compose.consul import TOKENS_JOB, consul, consul_tokens, uses_consul
from bandstand.workspace.export.compose.hardening import (
    DATA,
    Json,
    container,
    healthcheck,
    limits,
    secrets,
)
from bandstand.workspace.export.deployment import SECRETS_FOLDER, topology_command
from bandstand.workspace.manifest import Images, Service, Workspace
from bandstand.workspace.manifest.connections import STATEMENT_TIMEOUT, max_connections, role_limit
from bandstand.workspace.postgres_logging import LOG_SETTINGS
from bandstand.workspace.rotation import SECOND

__all__ = [
    "ADMINISTRATOR_SECRETS",
    "BROKER_ADMINISTRATOR",
    "BROKER_TOPOLOGY",
    "DATABASES_SCRIPT",
    "RABBITMQ_SETTINGS",
    "RABBITMQ_SETTINGS_TEXT",
    "databases_script",
    "role_secrets",
    "stores",
    "volumes",
]

DATABASES_SCRIPT: Final = "postgres/databases.sql"
RABBITMQ_SETTINGS: Final = "rabbitmq/rabbitmq.conf"

_ADMINISTRATOR: Final = "postgres-administrator"
ADMINISTRATOR_SECRETS: Final = (
    (_ADMINISTRATOR, "postgres/administrator"),
    (f"{_ADMINISTRATOR}-before", "postgres/administrator.before"),
    (f"{_ADMINISTRATOR}-verifier", "postgres/administrator.verifier"),
)
"""The secrets of PostgreSQL's administrator with their files."""
_NATS_VOLUME: Final = "nats-volume"
BROKER_TOPOLOGY: Final = "broker-topology"
BROKER_ADMINISTRATOR: Final = "broker-administrator"
# The image of NATS has no user of its own.
_NATS_USER: Final = "1000:1000"


def stores(workspace: Workspace) -> Iterator[tuple[str, Json]]:
    """Yield the containers by their names, which are the names of their hosts."""
    images = workspace.production.images
    yield "postgres", _postgres(workspace)
    yield "databases", _databases(workspace)
    yield "valkey", _valkey(images)
    if workspace.production.broker == "rabbitmq":
        yield "rabbitmq", _rabbitmq(images)
    else:
        yield _NATS_VOLUME, _nats_volume(images)
        yield "nats", _nats(images)
    yield BROKER_TOPOLOGY, _broker_topology(workspace)
    if uses_consul(workspace):
        yield "consul", consul(images)
        yield TOKENS_JOB, consul_tokens(workspace)


def volumes(workspace: Workspace) -> list[str]:
    """Return the names of the volumes that hold everything that must not be lost."""
    more = ["consul"] if uses_consul(workspace) else []
    return ["postgres", "valkey", workspace.production.broker, *more]


def databases_script(workspace: Workspace) -> str:
    """Return a script for psql that makes what is missing, and gives each role the password of its file.

    The files hold verifiers, so that no password is ever in a statement. A service's first role owns its database. A
    second one, which acts as the first, is there since passwords change; one whose file is empty may not log in.
    """
    roles = (_roles(service, replicas=workspace.production.replicas) for service in workspace.services)
    return "".join([_ADMINISTRATOR_AND_TABLE, *roles, _ROLES_AND_DATABASES.format(timeout=STATEMENT_TIMEOUT)])


_ADMINISTRATOR_AND_TABLE: Final = """\
\\set ON_ERROR_STOP on
\\set verifier `cat /run/secrets/postgres-administrator-verifier`
ALTER ROLE postgres PASSWORD :'verifier';

CREATE TEMPORARY TABLE roles (owner text, name text, connections integer, verifier text);
"""

_ROLE: Final = """\
\\set verifier `cat /run/secrets/{secret}`
INSERT INTO roles VALUES ('{owner}', '{name}', {limit}, :'verifier');
"""

_ROLES_AND_DATABASES: Final = """\

SELECT format('CREATE ROLE %I NOLOGIN', owner) FROM roles
  WHERE name = owner AND name NOT IN (SELECT rolname FROM pg_roles) \\gexec
SELECT format('CREATE ROLE %I NOLOGIN IN ROLE %I', name, owner) FROM roles
  WHERE verifier <> '' AND name NOT IN (SELECT rolname FROM pg_roles) \\gexec
SELECT format('ALTER ROLE %I SET role = %L', name, owner) FROM roles
  WHERE name <> owner AND name IN (SELECT rolname FROM pg_roles) \\gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name) FROM roles
  WHERE verifier <> '' \\gexec
SELECT format('ALTER ROLE %I CONNECTION LIMIT %s PASSWORD %L', name, connections, verifier) FROM roles
  WHERE verifier <> '' \\gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', name, '{timeout}') FROM roles
  WHERE verifier <> '' \\gexec
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', name) FROM roles
  WHERE verifier = '' AND name IN (SELECT rolname FROM pg_roles) \\gexec
SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN roles ON usename = name WHERE verifier = '';

SELECT format('CREATE DATABASE %I OWNER %I', owner, owner) FROM roles
  WHERE name = owner AND name NOT IN (SELECT datname FROM pg_database) \\gexec
-- Every role may connect to every database until that is revoked.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', name)
  FROM (SELECT owner FROM roles UNION VALUES ('postgres'), ('template1')) AS database (name) \\gexec
"""


def _roles(service: Service, *, replicas: int) -> str:
    names = (service.identifier, f"{service.identifier}{SECOND}")
    limit = role_limit(service, replicas=replicas)
    return "".join(
        _ROLE.format(secret=secret, owner=service.identifier, name=name, limit=limit)
        for secret, name in zip(role_secrets(service), names, strict=True)
    )


def role_secrets(service: Service) -> tuple[str, str]:
    """Return the names of the secrets with the verifiers of the two roles of ``service``."""
    return f"postgres-{service.name}", f"postgres-{service.name}{SECOND}"


def _postgres(workspace: Workspace) -> Json:
    connections = max_connections(workspace.services, replicas=workspace.production.replicas)
    return container(
        workspace.production.images.postgres,
        networks=(DATA,),
        user="postgres",
        # Commits wait for the disk (PostgreSQL's default); nobody turns that off by accident.
        command=[
            "postgres",
            *("-c", f"max_connections={connections}"),
            *("-c", "unix_socket_directories=/tmp"),  # the usual folder can't be written to
            *("-c", "shared_buffers=256MB"),
            *("-c", "synchronous_commit=on"),
            *("-c", "idle_in_transaction_session_timeout=60s"),
            *(word for name, value in LOG_SETTINGS.items() for word in ("-c", f"{name}={value}")),
        ],
        environment={
            "POSTGRES_PASSWORD_FILE": f"/run/secrets/{_ADMINISTRATOR}",
            "POSTGRES_INITDB_ARGS": "--auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8",
            "PGDATA": _postgres_data(workspace.production.images),
        },
        secrets=secrets([(_ADMINISTRATOR, _ADMINISTRATOR)]),
        volumes=["postgres:/var/lib/postgresql"],
        shm_size="128m",
        stop_signal="SIGINT",  # the fast shutdown: open transactions are rolled back
        stop_grace_period="60s",
        healthcheck=healthcheck("pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres"),
        deploy=limits(2, 1024),
    )


def _postgres_data(images: Images) -> str:
    """Return the folder of the data: one for each major version, as in the image of 18 and later."""
    major = versions.POSTGRES.series_of_image(images.postgres) or versions.POSTGRES.series
    return f"/var/lib/postgresql/{major}/docker"


# While the administrator's password changes, the server may know the one before.
_RUN_SCRIPT: Final = """\
for name in postgres-administrator postgres-administrator-before; do
  PGPASSWORD="$$(cat /run/secrets/$$name)"; export PGPASSWORD
  if psql -qtAX -c 'SELECT 1' >/dev/null 2>&1; then break; fi
done
exec psql -qtAX -f /databases.sql"""


def _databases(workspace: Workspace) -> Json:
    """A job: new services get their database, changed passwords come true."""
    names = [
        *(name for name, _ in ADMINISTRATOR_SECRETS),
        *(name for service in workspace.services for name in role_secrets(service)),
    ]
    return container(
        workspace.production.images.postgres,
        networks=(DATA,),
        user="postgres",
        entrypoint=["sh", "-c", _RUN_SCRIPT],
        environment={"PGHOST": "postgres", "PGUSER": "postgres", "PGDATABASE": "postgres"},
        secrets=secrets((name, name) for name in names),
        volumes=[f"./{DATABASES_SCRIPT}:/databases.sql:ro"],
        depends_on={"postgres": {"condition": "service_healthy"}},
        deploy=limits(0.5, 128),
    ) | {"restart": "no"}


def _valkey(images: Images) -> Json:
    return container(
        images.valkey,
        networks=(DATA,),
        user="valkey",
        command=[
            "valkey-server",
            *("--dir", "/data"),
            *("--aclfile", "/run/secrets/valkey-users.acl"),
            *("--appendonly", "yes", "--appendfsync", "everysec"),
            *("--save", ""),
            *("--maxmemory", "192mb", "--maxmemory-policy", "allkeys-lru"),
        ],
        secrets=secrets([("valkey-users", "valkey-users.acl")]),
        volumes=["valkey:/data"],
        healthcheck=healthcheck("valkey-cli", "--no-auth-warning", "--user", "health", "--pass", "-", "-e", "ping"),
        deploy=limits(1, 256),
    )


RABBITMQ_SETTINGS_TEXT: Final = """\
# Users and their rights are read at each start; nothing else can change them.
definitions.import_backend = local_filesystem
definitions.local.path = /run/secrets/rabbitmq-definitions.json
# Refuse to take more before the disk or the container's memory is full; publishers then wait in their outboxes.
disk_free_limit.absolute = 1GB
vm_memory_high_watermark.absolute = 512MB
log.console = true
log.console.level = info
"""


def _rabbitmq(images: Images) -> Json:
    return container(
        images.rabbitmq,
        networks=(DATA,),
        user="rabbitmq",
        hostname="rabbitmq",  # the data belong to a node of that name
        volumes=["rabbitmq:/var/lib/rabbitmq", f"./{RABBITMQ_SETTINGS}:/etc/rabbitmq/conf.d/20-platform.conf:ro"],
        secrets=secrets([("rabbitmq-definitions", "rabbitmq-definitions.json")]),
        stop_grace_period="60s",
        healthcheck=healthcheck("rabbitmq-diagnostics", "-q", "check_port_connectivity", interval=30)
        | {"timeout": "20s", "start_interval": "5s"},
        deploy=limits(2, 1024, pids=1024),
    )


def _nats_volume(images: Images) -> Json:
    """A job: a new volume is root's, and so is what a NATS that ran as root left there."""
    return container(
        images.nats,
        networks=(DATA,),
        user="root",
        cap_add=["CHOWN", "DAC_READ_SEARCH"],  # the second to look into folders that are no longer root's
        entrypoint=["chown", "-R", _NATS_USER, "/data"],
        volumes=["nats:/data"],
        deploy=limits(0.5, 64),
    ) | {"restart": "no"}


def _broker_topology(workspace: Workspace) -> Json:
    """Return the job in which the administrator declares what all services share; no service has the right to."""
    return container(
        workspace.production.image.name(workspace.service_names[0]),
        networks=(DATA,),
        command=topology_command(workspace),
        environment={f"{wire.BROKER_ADMIN_URL}{wire.FILE_SUFFIX}": f"{SECRETS_FOLDER}/{wire.BROKER_ADMIN_URL}"},
        secrets=secrets([(BROKER_ADMINISTRATOR, wire.BROKER_ADMIN_URL)]),
        depends_on={workspace.production.broker: {"condition": "service_healthy"}},
        deploy=limits(0.5, 128),
    ) | {"restart": "no"}


def _nats(images: Images) -> Json:
    return container(
        images.nats,
        networks=(DATA,),
        user=_NATS_USER,
        depends_on={_NATS_VOLUME: {"condition": "service_completed_successfully"}},
        command=["--config", "/run/secrets/nats.conf"],
        secrets=secrets([("nats-configuration", "nats.conf")]),
        volumes=["nats:/data"],
        stop_grace_period="60s",
        healthcheck=healthcheck("wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8222/healthz"),
        deploy=limits(1, 512),
    )
