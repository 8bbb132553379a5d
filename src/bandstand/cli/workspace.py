"""How a command finds its workspace, and the options that all commands share."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from bandstand.workspace.manifest import FILE_NAME, Workspace, load, locate
from bandstand.workspace.runtime import StateFolder

__all__ = ["Context", "FolderOption", "JsonOption", "Opened", "ServiceArgument", "opened"]

Context = typer.Context
FolderOption = Annotated[
    Path | None,
    typer.Option("--workspace", "-C", metavar="DIR", help=f"The folder with {FILE_NAME}, or one below it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines, and nothing else.")]
ServiceArgument = Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Only this one.", show_default=False)]


class Opened(NamedTuple):
    """A workspace, the manifest that it was read from, and its state folder."""

    workspace: Workspace
    manifest: Path
    state: StateFolder


def opened(context: typer.Context, folder: Path | None) -> Opened:
    """Read the workspace in ``folder``, else in the one given before the command, else in this one or above.

    Raises:
        ManifestError: with every fault.
        WorkspaceError: there is none.
    """
    given: Path | None = folder or context.find_root().obj
    manifest = locate(given or Path.cwd())
    workspace = load(manifest)
    return Opened(workspace, manifest, StateFolder(workspace.state_folder))
