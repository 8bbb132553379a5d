"""``bandstand restart``: new processes for services, without a failed request."""

import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, ServiceArgument, opened
from bandstand.workspace.runtime import restart_services

__all__ = ["restart"]


def restart(
    context: Context, service: ServiceArgument = None, folder: FolderOption = None, json: JsonOption = False
) -> None:
    """Replace the processes of one service, or of all, one after the other, without a failed request.

    The new process starts beside the old one, takes its place once it is ready, and the old one finishes what it has
    begun. One that does not become ready, or does not stay so, changes nothing. Migrations are not applied: `bandstand
    migrate` does that.
    """
    with failing(json=json):
        place = opened(context, folder)
        names = [place.workspace.service(service).name] if service else list(place.workspace.service_names)
        restart_services(place.state, names)
        if json:
            print_json({"restarted": names})
        else:
            typer.echo(f"Restarted: {', '.join(names)}.")
