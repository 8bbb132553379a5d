"""``bandstand secrets``: passwords and keys for production, made once."""

from pathlib import Path
from typing import Annotated

import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.runtime import write_secrets

__all__ = ["secrets"]


def secrets(
    context: Context,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to; deploy/compose/secrets beside the manifest unless given."),
    ] = None,
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """Make the passwords and keys that are missing, one file for each; what is there is never written over.

    Compose mounts them as they lie there. For Kubernetes, make a Secret of each service's folder. None is printed.
    """
    with failing(json=json):
        workspace = opened(context, folder).workspace
        target = out or workspace.root / "deploy" / "compose" / "secrets"
        written = write_secrets(workspace, target)
    if json:
        print_json({"folder": str(target), "written": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(f"wrote    {path}")
    if not written:
        typer.echo(f"{target} has every secret.")
    typer.echo(
        "Mails go to the log while EMAIL_URL is console://; write smtp://user:password@host:587 there.", err=True
    )
