"""``bandstand export``: the platform for production, rendered from the same manifest."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from bandstand.cli.failing import failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.export import EXPORTERS, Difference, RenderedFolder, mark
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.runtime import version_differences

__all__ = ["export"]


def _known(kind: str) -> str:
    if kind not in EXPORTERS:
        raise typer.BadParameter(f"it is {kind!r}; write one of {', '.join(EXPORTERS)}.")
    return kind


def export(
    context: Context,
    *,
    kind: Annotated[str, typer.Argument(metavar="|".join(EXPORTERS), help="What to render.", callback=_known)],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to; deploy/KIND beside the manifest unless given."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail and name what is stale, as in CI.")
    ] = False,
    gateway: Annotated[
        Literal["kong", "envoy"] | None,
        typer.Option("--gateway", metavar="kong|envoy", help="Another gateway than the manifest's."),
    ] = None,
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """Render the platform for production: the same manifest always gives the same bytes, and no secret is in them.

    Files that were not rendered are never written over.
    """
    with failing(json=json):
        workspace = _with(opened(context, folder).workspace, gateway)
        target = RenderedFolder(out or workspace.root / "deploy" / kind, mark(kind))
        files = list(EXPORTERS[kind](workspace))
        warnings = [
            *version_differences(workspace, (file.content for file in files)),
            *_gateway_unknown(kind, workspace),
        ]
        difference = target.compare(files) if check else target.write(files)
    for warning in warnings:
        typer.secho(f"Warning: {warning}", fg="yellow", err=True)
    if check:
        _tell_stale(target.path, difference, warnings, json=json)
    else:
        _tell_written(target.path, difference, warnings, json=json)


def _gateway_unknown(kind: str, workspace: Workspace) -> Iterator[str]:
    if kind == "kubernetes" and not workspace.production.gateway_networks:
        yield (
            "production.gateway_networks is not written, so services take the gateway for the client: all clients "
            "share the limits on signing in and on anonymous requests. Name the network of the gateway's pods, such as "
            '["10.244.0.0/16"].'
        )


def _with(workspace: Workspace, gateway: Literal["kong", "envoy"] | None) -> Workspace:
    if gateway is None:
        return workspace
    production = msgspec.structs.replace(workspace.production, gateway=gateway)
    return msgspec.structs.replace(workspace, production=production)


def _tell_written(folder: Path, difference: Difference, warnings: list[str], *, json: bool) -> None:
    written = (*difference.missing, *difference.changed)
    if json:
        deleted = _names(difference.gone)
        print_json({"folder": str(folder), "written": _names(written), "deleted": deleted, "warnings": warnings})
        return
    for path in written:
        typer.echo(f"wrote    {path}")
    for path in difference.gone:
        typer.echo(f"deleted  {path}")
    if not difference:
        typer.echo(f"{folder} is up to date.")


def _tell_stale(folder: Path, difference: Difference, warnings: list[str], *, json: bool) -> None:
    stale = {
        "missing": _names(difference.missing),
        "changed": _names((*difference.changed, *difference.foreign)),
        "gone": _names(difference.gone),
    }
    if json:
        print_json({"ok": not difference, "folder": str(folder), **stale, "warnings": warnings})
    elif not difference:
        typer.echo(f"{folder} is up to date.")
    else:
        meanings = {
            "missing": "is missing",
            "changed": "is not what the manifest says",
            "gone": "is not rendered any more",
        }
        for what, paths in stale.items():
            for path in paths:
                typer.secho(f"{path} {meanings[what]}.", fg="red", err=True)
        typer.echo("Render it anew with the same command without --check, and look at the difference.", err=True)
    raise typer.Exit(1 if difference else 0)


def _names(paths: Iterable[Path]) -> list[str]:
    return [str(path) for path in paths]
