"""``bandstand contracts``: what the services promise each other by events, written down and checked."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.contracts import Finding, baseline, check, collect, render, stale, write

__all__ = ["contracts"]

_FOLDER: Final = "contracts"

contracts = typer.Typer(
    help="Write down what the services promise each other by events, and check that everybody can read it.",
    no_args_is_help=True,
)

_WRITE_EXAMPLES: Final = """
Examples:

  bandstand contracts write          write contracts/ anew, then look at `git diff`
"""

_CHECK_EXAMPLES: Final = """
Examples:

  bandstand contracts check                          compare with HEAD, as before a commit

  bandstand contracts check --against origin/main    compare with what is released, as in CI

  bandstand contracts check --json                   one object with all findings

Exit status: 0 all is well, 1 something breaks or is stale.
"""


@contracts.command("write", epilog=_WRITE_EXAMPLES)
def write_(context: Context, folder: FolderOption = None, json: JsonOption = False) -> None:
    """Write contracts/ beside the manifest: a JSON Schema for each published event, and an AsyncAPI document.

    Each service is asked by its own manage.py; neither database nor broker need run.
    """
    with failing(json=json):
        place = opened(context, folder)
        target = place.workspace.root / _FOLDER
        changed, gone = write(render(collect(place.workspace)), target)
    if json:
        print_json({"folder": str(target), "written": _names(changed), "deleted": _names(gone)})
        return
    for path in changed:
        typer.echo(f"wrote    {_FOLDER}/{path.name}")
    for path in gone:
        typer.echo(f"deleted  {_FOLDER}/{path.name}")
    if not (changed or gone):
        typer.echo(f"{_FOLDER}/ is up to date.")


@contracts.command("check", epilog=_CHECK_EXAMPLES)
def check_(
    context: Context,
    folder: FolderOption = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REVISION", help="The commit whose contracts hold; HEAD unless given."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    json: JsonOption = False,
) -> None:
    """Fail if contracts/ is stale, or if what is published breaks a consumer: which one, and which field."""
    with failing(json=json):
        place = opened(context, folder)
        target = place.workspace.root / _FOLDER
        before = baseline(target, against)
        platform = collect(place.workspace)
        findings = (*check(platform, before.promises), *stale(render(platform), target))
    errors = [each for each in findings if each.level == "error" or strict]
    if json:
        print_json({"ok": not errors, "against": before.name, "findings": findings})
    else:
        _print(findings, before.name)
    raise typer.Exit(1 if errors else 0)


def _names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def _print(findings: tuple[Finding, ...], against: str) -> None:
    for each in findings:
        typer.secho(each.message, fg="red" if each.level == "error" else "yellow", err=True)
        for example in each.example:
            typer.echo(f"  For example: {_shortened(example)}", err=True)
        typer.echo(f"  {each.hint}", err=True)
    errors = sum(each.level == "error" for each in findings)
    if not findings:
        typer.echo(f"Every consumer can read what is published, and {_FOLDER}/ is up to date (against {against}).")
    else:
        typer.echo(f"{errors} error(s), {len(findings) - errors} warning(s), against {against}.", err=True)


def _shortened(example: object) -> str:
    text = msgspec.json.encode(example).decode()
    return text if len(text) <= 300 else f"{text[:300]}…"
