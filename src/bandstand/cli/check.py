"""``bandstand check``: what would go wrong in production, told before."""

from typing import Annotated

import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.database import read_limits
from bandstand.workspace.manifest.connections import (
    PLATFORM_CONNECTIONS,
    ServiceConnections,
    connection_budget,
    max_connections,
)
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


_CONNECTIONS_EXAMPLES = """
Examples:

  bandstand check connections               what processes may open, at most

  bandstand check connections --limit 400   fail if max_connections is less

  bandstand check connections --database postgresql://shop@db.example/shop

                          ask PostgreSQL, and see how a pooler shares them

Exit status: 0 it fits or no limit was given, 1 it does not fit.
"""


@check.command("connections", epilog=_CONNECTIONS_EXAMPLES)
def connections(
    context: Context,
    folder: FolderOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="max_connections of the PostgreSQL in production.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", metavar="URL", help="The database in production, directly or through its pooler."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add up the database connections of all services, at max_replicas of each.

    One web process more of each is counted, as while a release replaces them.
    """
    with failing(json=json):
        workspace = opened(context, folder).workspace
        found = read_limits(database) if database else None
    mode = found.pool_mode if found else None
    if limit is None and found:
        limit = found.max_connections
    replicas = workspace.production.max_replicas + 1
    budget = connection_budget(workspace.services, replicas=replicas)
    total = max_connections(workspace.services, replicas=replicas)
    fits = limit is None or total <= limit or mode == "transaction"
    if json:
        answer = {"replicas": replicas, "services": budget, "total": total, "limit": limit, "pool_mode": mode}
        print_json({"ok": fits, **answer})
    else:
        _print_budget(budget, total)
        _print_limit(total, limit, mode)
    raise typer.Exit(0 if fits else 1)


def _print_budget(budget: tuple[ServiceConnections, ...], total: int) -> None:
    for each in budget:
        typer.echo(
            f"{each.service:<28} {each.total:>5}  (web {each.web}, worker {each.worker}, commands {each.commands})"
        )
    typer.echo(f"{'tools and superuser':<28} {PLATFORM_CONNECTIONS:>5}")
    typer.echo(f"{'together':<28} {total:>5}")


def _print_limit(total: int, limit: int | None, mode: str | None) -> None:
    if limit is not None:
        typer.echo(f"{'max_connections':<28} {limit:>5}")
    if mode is not None:
        typer.echo(f"{'pool_mode':<28} {mode:>5}")
    if mode == "transaction":
        typer.echo(
            "A pooler shares the sessions by transaction, so its default_pool_size counts and not these connections. "
            "Lead migrations, and workers that NOTIFY shall wake, to PostgreSQL itself."
        )
    elif limit is not None and total > limit:
        typer.secho(f"PostgreSQL allows {limit}, {total - limit} too few.", fg="red", err=True)
        typer.echo(
            "Raise max_connections, lower max_replicas or a service's threads, or put a pooler between, such as "
            "PgBouncer with pool_mode = transaction.",
            err=True,
        )


def _print(faults: list[MigrationFault], *, accepted: int) -> None:
    for each in faults:
        typer.secho(f"{each.file}:{each.line}: {each.service}: {each.operation} ({each.code})", fg="red", err=True)
        typer.echo(f"  {each.message}", err=True)
        typer.echo(f"  {each.instead}", err=True)
    if faults:
        typer.echo(f"{len(faults)} finding(s), {accepted} more accepted with a reason.", err=True)
    else:
        typer.echo(f"The release before survives every migration ({accepted} finding(s) accepted with a reason).")
