"""What a plan must know of this machine and of earlier runs, gathered in one place so that planning itself is pure."""

import os
import sys
from collections.abc import Callable, Mapping

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime.binaries import Binaries, find_binaries
from bandstand.workspace.runtime.credentials import Credentials, load_credentials
from bandstand.workspace.runtime.environment import base_environment
from bandstand.workspace.runtime.fingerprint import environment_fingerprint, service_fingerprint
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.launcher import choose_account, has_name
from bandstand.workspace.runtime.ports import choose_ports, is_free, next_free
from bandstand.workspace.runtime.resources import Account
from bandstand.workspace.runtime.servers.rabbitmq import PORT_MAPPER
from bandstand.workspace.runtime.wheels import check_granian

__all__ = ["Access", "Facts", "access", "assign_ports", "survey"]


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to join a platform: where its servers listen, and the passwords."""

    folder: StateFolder
    base: Mapping[str, str]
    credentials: Credentials
    ports: Mapping[str, int]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder.root)!r})"


class Facts(Access, frozen=True, kw_only=True):
    """The machine, the state folder and what lies in it, as of the moment before a start."""

    python: str
    cores: int
    account: Account
    binaries: Binaries
    has_cluster: bool
    fingerprints: Mapping[str, str]


def access(workspace: Workspace, ports: Mapping[str, int]) -> Access:
    """Read the passwords, and make those that are missing; ``ports`` are those of the servers."""
    folder = StateFolder(workspace.state_folder)
    return Access(
        folder=folder,
        base=base_environment(os.environ),
        credentials=load_credentials(folder.credentials, workspace.service_names),
        ports=ports,
    )


def survey(workspace: Workspace, ports: Mapping[str, int]) -> Facts:
    """Look at the machine.

    Raises:
        ServerMissing: a program that the runner is to start is not installed.
        WorkspaceError: there are databases whose passwords were lost, or that another version of PostgreSQL made, or
            PostgreSQL can't run as this user.
    """
    folder = StateFolder(workspace.state_folder)
    data = folder.postgres / "data"
    if data.exists() and not folder.credentials.exists():
        raise WorkspaceError(
            f"{folder.credentials} is missing, and nobody else knows the passwords of the databases in {data}.",
            hint=f"Restore it, or remove {folder.root} and begin with empty databases.",
        )
    check_granian()
    common = access(workspace, ports)
    environment = environment_fingerprint()
    account, binaries = choose_account(), find_binaries(workspace.servers, data)
    if binaries.postgres is not None and account == "self" and not has_name(os.geteuid()):
        raise WorkspaceError(
            f"PostgreSQL can't run as the user id {os.geteuid()}, which has no entry in /etc/passwd, and a user "
            "namespace, in which it would have a name, is not allowed here.",
            hint="Add an entry for it (in a container: RUN useradd --uid …), run as a user that has one, or name a "
            "PostgreSQL that runs already under [servers] in bandstand.toml.",
        )
    return Facts(
        **msgspec.structs.asdict(common),
        python=sys.executable,
        cores=os.cpu_count() or 1,
        account=account,
        binaries=binaries,
        has_cluster=data.exists(),
        fingerprints={service.name: service_fingerprint(service.folder, environment) for service in workspace.services},
    )


def assign_ports(
    workspace: Workspace, earlier: Mapping[str, int], *, free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """Choose a free port for the gateway, each server and each web process, the earlier ones where possible."""
    webs = (process.name for process in workspace.processes if process.kind == "web")
    servers = ["postgres", "redis", workspace.servers.broker.kind]
    if workspace.servers.broker.kind == "rabbitmq":
        servers += ["rabbitmq-distribution", PORT_MAPPER]
    chosen = choose_ports((*servers, "gateway-admin", *webs), earlier, free=free)
    chosen["gateway"] = next_free(workspace.gateway.port, taken=chosen.values(), free=free)
    return chosen
