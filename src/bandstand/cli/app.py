"""The command line as a whole: every command by its name, and what holds for all of them."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bandstand import __version__
from bandstand.cli.check import check
from bandstand.cli.contracts import contracts
from bandstand.cli.down import down
from bandstand.cli.events import events
from bandstand.cli.examples import epilog
from bandstand.cli.exec import exec_
from bandstand.cli.export import export
from bandstand.cli.logs import logs
from bandstand.cli.migrate import migrate
from bandstand.cli.policy import policy
from bandstand.cli.ps import ps
from bandstand.cli.reload import reload
from bandstand.cli.restart import restart
from bandstand.cli.secrets import secrets
from bandstand.cli.up import up
from bandstand.workspace.runtime import remove_libpq_variables

__all__ = ["app"]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bandstand {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="bandstand",
    help="Start a platform of Django services on real servers, on this machine and without Docker.",
    epilog=epilog(),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=epilog("up"))(up)
app.command(epilog=epilog("down"))(down)
app.command(epilog=epilog("ps"))(ps)
app.command(epilog=epilog("logs"))(logs)
app.command(epilog=epilog("migrate"))(migrate)
app.command(epilog=epilog("reload"))(reload)
app.command(epilog=epilog("restart"))(restart)
app.command(epilog=epilog("export"))(export)
app.add_typer(secrets, name="secrets")
app.add_typer(check, name="check")
app.add_typer(contracts, name="contracts")
app.add_typer(events, name="events")
app.add_typer(policy, name="policy")
app.command(
    "exec",
    epilog=epilog("exec"),
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)(exec_)


@app.callback()
def options(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("--workspace", "-C", metavar="DIR", help="The folder with bandstand.toml, or one below it."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What is said before the command holds for it."""
    context.obj = folder
    remove_libpq_variables(os.environ)
