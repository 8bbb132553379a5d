"""How a command fails: one message on standard error, an exit status that says so, and for machines an object."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import msgspec
import typer

from bandstand.exceptions import BandstandError, StartInterrupted, WorkspaceError
from bandstand.workspace.runtime import file_hint

__all__ = ["fail", "failing", "print_json"]


@contextmanager
def failing(*, json: bool = False) -> Iterator[None]:
    """Turn an error of ours, and a file that can't be used, into its message and exit status."""
    try:
        yield
    except StartInterrupted as error:
        fail(error.code, error.message, "", json=json, status=error.status)
    except WorkspaceError as error:
        fail(
            error.code,
            error.message if hasattr(error, "message") else str(error),
            getattr(error, "hint", ""),
            json=json,
        )
    except BandstandError as error:
        fail(error.code, str(error), "", json=json)
    except OSError as error:
        if error.filename is None:
            raise
        fail("file_error", f"{error.filename} can't be used: {error.strerror}.", file_hint(error), json=json)


def fail(code: str, message: str, hint: str, *, json: bool, status: int = 1) -> NoReturn:
    """Print what went wrong and end the command with the exit ``status``."""
    if json:
        print_json({"error": {"code": code, "message": message, "hint": hint}})
    typer.secho(message, fg="red", err=True)
    if hint:
        typer.echo(hint, err=True)
    raise typer.Exit(status)


def print_json(value: object) -> None:
    """Write one object on one line of standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
