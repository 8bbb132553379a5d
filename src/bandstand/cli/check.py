"""``bandstand check``: what would go wrong in production, told before."""

from typing import Annotated

import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.migrations import MigrationFault, check_migrations

__all__ = ["check"]

check = typer.Typer(help="Find what would go wrong in production, before it does.", no_args_is_help=True)

_MIGRATIONS_EXAMPLES = """
Examples:

  bandstand check migrations                          every migration of every service

  bandstand check migrations --against origin/main    only what is not released yet, as in CI

  bandstand check migrations --json                   one object with all findings

Exit status: 0 all is well, 1 there is a finding that nobody accepted.
"""


@check.command("migrations", epilog=_MIGRATIONS_EXAMPLES)
def migrations(
    context: Context,
    folder: FolderOption = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REVISION", help="The commit that is released; its migrations are left out."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Fail on migrations that the release before would break on, or that stop everybody while they run.

    Each service is asked by its own manage.py; no database need run.
    """
    with failing(json=json):
        faults = check_migrations(opened(context, folder).workspace, against)
    open_ones = [each for each in faults if each.reason is None]
    if json:
        print_json({"ok": not open_ones, "findings": faults})
    else:
        _print(open_ones, accepted=len(faults) - len(open_ones))
    raise typer.Exit(1 if open_ones else 0)


def _print(faults: list[MigrationFault], *, accepted: int) -> None:
    for each in faults:
        typer.secho(f"{each.file}:{each.line}: {each.service}: {each.operation} ({each.code})", fg="red", err=True)
        typer.echo(f"  {each.message}", err=True)
        typer.echo(f"  {each.instead}", err=True)
    if faults:
        typer.echo(f"{len(faults)} finding(s), {accepted} more accepted with a reason.", err=True)
    else:
        typer.echo(f"The release before survives every migration ({accepted} finding(s) accepted with a reason).")
