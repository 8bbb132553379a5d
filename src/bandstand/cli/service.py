"""Commands inside of a service: with its environment, in its folder, on the Python of this installation."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from bandstand.cli.failing import fail
from bandstand.cli.workspace import Opened
from bandstand.workspace.manifest import Service
from bandstand.workspace.runtime import command_environment

__all__ = ["Inside", "become", "inside"]


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """A service as its commands see it; ``running`` says whether its servers answer."""

    service: Service
    environment: dict[str, str]
    running: bool


def inside(place: Opened, name: str) -> Inside:
    """Return what a command of the service of that name needs.

    Raises:
        WorkspaceError: there is no such service, or the platform was never started.
    """
    service = place.workspace.service(name)
    environment, running = command_environment(place.workspace, service)
    # The `python` of this installation, whichever one the shell would find.
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
    return Inside(service=service, environment=environment, running=running)


def become(found: Inside, words: list[str]) -> NoReturn:
    """Replace this process by the command ``words``."""
    program = shutil.which(words[0], path=found.environment["PATH"]) or str(found.service.folder / words[0])
    os.chdir(found.service.folder)
    try:
        os.execve(program, words, found.environment)  # noqa: S606 - to become that program is the purpose
    except OSError as error:
        fail("command_not_found", f"{words[0]} can't be run: {error.strerror}.", "", json=False)
