"""``bandstand logs``: what the processes wrote."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from bandstand.cli.failing import failing
from bandstand.cli.terminal import LogPrinter, console
from bandstand.cli.workspace import Context, FolderOption, opened
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime import Follower, last_lines, log_names

__all__ = ["logs"]

_POLL = 0.1  # seconds


def logs(
    context: Context,
    *,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[SERVICE]", help="A service, a process (user-service-web) or a server (postgres)."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines to begin with.")] = 100,
    raw: Annotated[bool, typer.Option("--raw", help="Each line as it was written.")] = False,
    folder: FolderOption = None,
) -> None:
    """Show the log of all services, of one, or of a server. The files lie in .bandstand/logs/."""
    with failing():
        place = opened(context, folder)
        names = _names(place.workspace, name)
        files = {each: place.state.log(each) for each in names}
        show = _raw if raw else _printer(names)
        # First, so that no line falls between what was and what comes.
        followers = {each: Follower(path) for each, path in files.items()} if follow else {}
        for each, line in last_lines(files, lines):
            show(each, line)
        _follow(followers, show)


def _names(workspace: Workspace, name: str | None) -> list[str]:
    """The logs that a name stands for: all of the services when there is none."""
    services = {service.name: log_names(service) for service in workspace.services}
    others = ("gateway", *(server.kind for server in workspace.servers), "runner")
    everything = [each for names in services.values() for each in names]
    if name is None:
        return [*everything, "gateway"]
    if name in services:
        return list(services[name])
    if name in (*everything, *others):
        return [name]
    hint = f"There are {', '.join([*services, *everything, *others])}."
    raise WorkspaceError(f"There is no log of {name!r}.", hint=hint)


def _printer(names: list[str]) -> Callable[[str, str], None]:
    printer, out = LogPrinter(names), console()
    return lambda name, line: out.print(printer.text(name, line))


def _raw(_name: str, line: str) -> None:
    typer.echo(line)


def _follow(followers: dict[str, Follower], show: Callable[[str, str], None]) -> None:
    with suppress(KeyboardInterrupt):
        while followers:
            for name, follower in followers.items():
                for line in follower.lines():
                    show(name, line)
            time.sleep(_POLL)
