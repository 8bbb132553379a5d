"""``bandstand reload``: give the running gateway the routes of the changed manifest."""

import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.runtime import reload_platform

__all__ = ["reload"]


def reload(context: Context, folder: FolderOption = None, json: JsonOption = False) -> None:
    """Read bandstand.toml anew and change the gateway without a failed request.

    `bandstand up` does that by itself when the file changes; this says how it went. A manifest with a fault changes
    nothing, and the fault is shown.
    """
    with failing(json=json):
        place = opened(context, folder)
        changed, text = reload_platform(place.state)
        if json:
            print_json({"changed": changed, "restart_needed": text.splitlines()})
        else:
            typer.echo("The gateway has new routes." if changed else "The gateway has these routes already.")
            if text:
                typer.echo(text)
