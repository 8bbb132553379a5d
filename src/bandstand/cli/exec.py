"""``bandstand exec``: run a command as a service would."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from bandstand.cli.failing import fail, failing
from bandstand.cli.workspace import Context, FolderOption, opened
from bandstand.workspace.runtime import command_environment

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
        place = opened(context, folder)
        found = place.workspace.service(service)
        environment, running = command_environment(place.workspace, found)
    if not running:
        typer.echo("The platform is not running, so no server answers. Start it with `bandstand up -d`.", err=True)
    # The `python` of this installation, whichever one the shell would find.
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    program = shutil.which(words[0], path=environment["PATH"]) or str(found.folder / words[0])
    os.chdir(found.folder)
    try:
        os.execve(program, words, environment)  # noqa: S606 - to become that program is the purpose
    except OSError as error:
        fail("command_not_found", f"{words[0]} can't be run: {error.strerror}.", "", json=False)
