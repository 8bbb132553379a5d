"""Asks each service which of its migrations the release before would not survive."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.asking import ask
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.revisions import git, known_commit

__all__ = ["MigrationFault", "check_migrations"]

_COMMAND: Final = "lint_migrations"
_AT_ONCE: Final = 4


class MigrationFault(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in a migration of ``service``; ``file`` is relative to the manifest.

    ``instead`` says what to do. One that somebody accepted has their ``reason``, and is no fault any more.
    """

    code: str
    app: str
    migration: str
    file: str
    line: int
    operation: str
    message: str
    instead: str
    reason: str | None = None
    service: str = ""


def check_migrations(workspace: Workspace, against: str | None = None) -> tuple[MigrationFault, ...]:
    """Return all findings. What the git revision ``against`` has is released, and not looked at.

    Raises:
        WorkspaceError: git does not know the revision, or a service does not answer.
    """
    commit = known_commit(workspace.root, against) if against else None

    def lint(service: Service) -> list[MigrationFault]:
        released = _migrations_at(commit, service) if commit else []
        said = ask(workspace, service, _COMMAND, "--released", *released)
        try:
            found = msgspec.json.decode(said, type=list[MigrationFault])
        except msgspec.MsgspecError as error:
            raise WorkspaceError(f"{service.name} answered {_COMMAND} with something else: {error}.") from error
        return [_in_workspace(each, service, workspace) for each in found]

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(fault for faults in pool.map(lint, workspace.services) for fault in faults)


def _migrations_at(commit: str, service: Service) -> list[str]:
    names = (git(service.folder, "ls-tree", "-r", "--name-only", commit, ".") or "").splitlines()
    return [name for name in names if "/migrations/" in f"/{name}" and name.endswith(".py")]


def _in_workspace(fault: MigrationFault, service: Service, workspace: Workspace) -> MigrationFault:
    path = service.folder / fault.file
    file = path.relative_to(workspace.root) if path.is_relative_to(workspace.root) else path
    return msgspec.structs.replace(fault, service=service.name, file=str(file))
