"""``bandstand exec``: run a command as a service would."""

from typing import Annotated

import typer

from bandstand.cli.failing import failing
from bandstand.cli.service import become, inside
from bandstand.cli.workspace import Context, FolderOption, opened

__all__ = ["exec_"]


def exec_(
    context: Context,
    service: Annotated[str, typer.Argument(help="Whose environment and folder the command gets.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="The command with its arguments.")],
    folder: FolderOption = None,
) -> None:
    """Run a command with a service's environment, in its folder.

    Its databases and servers answer while the platform runs.
    """
    words = command[1:] if command[0] == "--" else command
    with failing():
        found = inside(opened(context, folder), service)
    if not found.running:
        typer.echo("The platform is not running, so no server answers. Start it with `bandstand up -d`.", err=True)
    become(found, words)
