"""What a plan must know of this machine and of earlier runs, gathered in one place so that planning itself is pure."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime.binaries import Binaries, find_binaries
from bandstand.workspace.runtime.credentials import Credentials, load_credentials
from bandstand.workspace.runtime.environment import base_environment
from bandstand.workspace.runtime.fingerprint import environment_fingerprint, service_fingerprint
from bandstand.workspace.runtime.folder import StateFolder
from bandstand.workspace.runtime.launcher import choose_account
from bandstand.workspace.runtime.ports import choose_ports, is_free, next_free
from bandstand.workspace.runtime.resources import Account

__all__ = ["Facts", "port_names", "survey"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, the state folder and what lies in it, as of the moment before a start."""

    folder: StateFolder
    python: str
    cores: int
    account: Account
    base: Mapping[str, str]
    binaries: Binaries
    credentials: Credentials
    ports: Mapping[str, int]
    has_cluster: bool
    fingerprints: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Facts({str(self.folder.root)!r})"


def survey(workspace: Workspace, earlier_ports: Mapping[str, int], *, keep_ports: bool = False) -> Facts:
    """Look at the machine, and make the passwords that are missing.

    ``keep_ports`` takes the earlier ports as they are, for somebody who joins a platform that runs.

    Raises:
        ServerMissing: a program that the workspace embeds is not installed.
    """
    folder = StateFolder(workspace.state_folder)
    environment = environment_fingerprint()
    return Facts(
        folder=folder,
        python=sys.executable,
        cores=os.cpu_count() or 1,
        account=choose_account(),
        base=base_environment(os.environ),
        binaries=find_binaries(_embedded(workspace), postgres_version=_cluster_version(folder.postgres / "data")),
        credentials=load_credentials(folder.credentials, workspace.service_names),
        ports={**_ports(workspace, earlier_ports), **earlier_ports} if keep_ports else _ports(workspace, earlier_ports),
        has_cluster=(folder.postgres / "data").exists(),
        fingerprints={service.name: service_fingerprint(service.folder, environment) for service in workspace.services},
    )


def port_names(workspace: Workspace) -> tuple[str, ...]:
    """Everything that needs a port of its own, the gateway apart."""
    webs = tuple(process.name for process in workspace.processes if process.kind == "web")
    return ("postgres", "redis", "nats", "gateway-admin", *webs)


def _ports(workspace: Workspace, earlier: Mapping[str, int]) -> dict[str, int]:
    chosen = choose_ports(port_names(workspace), earlier)
    chosen["gateway"] = next_free(workspace.gateway.port, taken=chosen.values(), free=is_free)
    return chosen


def _embedded(workspace: Workspace) -> frozenset[str]:
    return frozenset({"envoy", *(server.kind for server in workspace.servers if server.embedded)})


def _cluster_version(data: Path) -> int:
    """The version that made the cluster; another one can't read it."""
    version = data / "PG_VERSION"
    return int(version.read_text()) if version.exists() else 18
