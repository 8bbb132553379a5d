"""``bandstand down``: stop everything."""

import time

import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.runtime import foreign_state, stop_platform

__all__ = ["down"]


def down(context: Context, folder: FolderOption = None, json: JsonOption = False) -> None:
    """Stop the platform in good order: what is in flight is finished, and all data stays."""
    with failing(json=json):
        place = opened(context, folder)
        if foreign := foreign_state(place.state):
            typer.echo(foreign, err=True)
        began = time.monotonic()
        pid = stop_platform(place.state)
        seconds = round(time.monotonic() - began, 3)
        if json:
            print_json({"stopped": pid is not None, "pid": pid, "seconds": seconds})
        elif pid is None:
            typer.echo(f"{place.workspace.name} is not running; nothing to stop.")
        else:
            typer.echo(f"{place.workspace.name} is stopped ({seconds:.1f} s).")
