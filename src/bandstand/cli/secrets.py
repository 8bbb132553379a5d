"""``bandstand secrets``: passwords and keys for production, and their replacement there and on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from bandstand.cli.examples import epilog
from bandstand.cli.failing import fail, failing, print_json
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.export.rotation import RotationTarget, rotation_instructions
from bandstand.workspace.manifest import Workspace
from bandstand.workspace.rotation import RotationStep
from bandstand.workspace.runtime import rotate_files, rotate_running, write_secrets

__all__ = ["secrets"]

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where to; deploy/compose/secrets beside the manifest unless given."),
]

secrets = typer.Typer(invoke_without_command=True, epilog=epilog("secrets"))


@secrets.callback()
def make(context: Context, *, out: OutOption = None, folder: FolderOption = None, json: JsonOption = False) -> None:
    """Make the passwords and keys that are missing, one file for each; what is there is never written over.

    Compose mounts them as they lie there. For Kubernetes, make a Secret of each service's folder. None is printed.
    """
    if context.invoked_subcommand is not None:
        return
    with failing(json=json):
        workspace = opened(context, folder).workspace
        target = out or _default(workspace)
        written = write_secrets(workspace, target)
    if json:
        print_json({"folder": str(target), "written": [str(path) for path in written]})
        return
    _list(written)
    if not written:
        typer.echo(f"{target} has every secret.")
    typer.echo(
        "Mails go to the log while EMAIL_URL is console://; write smtp://user:password@host:587 there.", err=True
    )


@secrets.command("rotate", epilog=epilog("secrets rotate"))
def rotate(
    context: Context,
    *,
    step: Annotated[
        RotationStep | None,
        typer.Option("--step", help="Change the files of a rendered platform, in three steps, and not this machine's."),
    ] = None,
    target: Annotated[
        RotationTarget, typer.Option("--target", help="What was rendered, for the instructions that are printed.")
    ] = "compose",
    out: OutOption = None,
    lifetime: Annotated[
        int,
        typer.Option("--token-lifetime", min=0, metavar="SECONDS", help="How long a user token is valid."),
    ] = 300,
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """Replace all passwords and keys of the platform that runs, without a failed request.

    Servers and services accept both first, then use the new ones, and at last refuse the old ones. If it is
    interrupted nothing is lost: run it again, and it goes on. With --step, the same for the files of a rendered
    platform: it writes them and says what to do before the next step.
    """
    with failing(json=json):
        workspace = opened(context, folder).workspace
        if step is None and out is None:
            _rotate_running(workspace, lifetime=lifetime, json=json)
        else:
            _rotate_files(workspace, step or RotationStep.ACCEPT, target, out or _default(workspace), json=json)


def _rotate_running(workspace: Workspace, *, lifetime: int, json: bool) -> None:
    try:
        rotated = rotate_running(workspace, _ignore if json else typer.echo, token_lifetime=lifetime)
    except KeyboardInterrupt:
        message = "Interrupted. The platform works, with the old passwords and keys or with the new ones."
        fail("interrupted", message, "Run it again, and it goes on from here.", json=json, status=130)
    if json:
        print_json(rotated)
        return
    for server in rotated.external:
        typer.echo(f"Not changed: the password of {server}, which stands in bandstand.toml.", err=True)
    typer.echo(f"New passwords and keys: {', '.join((*rotated.services, *rotated.servers))}.")


def _rotate_files(
    workspace: Workspace, step: RotationStep, target: RotationTarget, folder: Path, *, json: bool
) -> None:
    written = rotate_files(workspace, folder, step)
    instructions = rotation_instructions(workspace, step, target, _shown(folder))
    if json:
        print_json({"folder": str(folder), "written": [str(path) for path in written], "instructions": instructions})
        return
    _list(written)
    typer.echo("\nThen, in this order:")
    for number, each in enumerate(instructions, start=1):
        typer.echo(f"\n{number}. {each.text}")
        if each.command:
            typer.echo("\n" + "\n".join(f"     {line}" for line in each.command.splitlines()))


def _list(written: list[Path]) -> None:
    for path in written:
        typer.echo(f"wrote    {path}")


def _default(workspace: Workspace) -> Path:
    return workspace.root / "deploy" / "compose" / "secrets"


def _shown(folder: Path) -> Path:
    """Return the path from here, where that is not longer."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _ignore(_text: str) -> None:
    """For machines only the end counts."""
