"""Asks a service something by its own ``manage.py``, for which no server need run."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["ask"]

_TIMEOUT: Final = 60.0  # seconds, for one service

# What would make a service's answer depend on the shell that asks.
_OWN: Final = frozenset(value for name, value in vars(wire).items() if name.isupper() and isinstance(value, str))
_FOREIGN: Final = ("DJANGO_", "BANDSTAND_", "PYTEST_", "COVERAGE_")


def ask(
    workspace: Workspace, service: Service, command: str, *arguments: str, outer: Mapping[str, str] | None = None
) -> bytes:
    """Return the last line that ``manage.py COMMAND --json`` of ``service`` prints.

    It inherits the environment ``outer``, by default this process's own, without what would change its answer.

    Raises:
        WorkspaceError: the service does not answer; the text has what it said instead.
    """
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", command, "--json", *arguments],
            cwd=service.folder,
            env=_environment(workspace, service, os.environ if outer is None else outer),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(f"{_asked(service, command)} gave no answer within {_TIMEOUT:.0f} s.") from error
    if done.returncode:
        last = "\n".join(done.stderr.decode(errors="replace").strip().splitlines()[-12:])
        raise WorkspaceError(
            f"{_asked(service, command)} ended with status {done.returncode}.",
            hint=f"{last}\n\nTry it: cd {service.folder} && python manage.py {command}" if last else "",
        )
    lines = done.stdout.splitlines()
    return lines[-1] if lines else b""


def _asked(service: Service, command: str) -> str:
    return f"{service.name} was asked for its {command} and"


def _environment(workspace: Workspace, service: Service, outer: Mapping[str, str]) -> dict[str, str]:
    """The least by which settings can be read. Nobody connects to anything, and no key is needed."""
    kept = {name: value for name, value in outer.items() if name not in _OWN and not name.startswith(_FOREIGN)}
    return {
        **kept,
        "DJANGO_SETTINGS_MODULE": service.settings_module,
        wire.SERVICE: service.name,
        wire.PLATFORM: workspace.name,
        wire.DEBUG: "true",
        wire.LOG_LEVEL: "WARNING",
        wire.SECRET_KEY: f"{wire.DEVELOPMENT_MARK}asking",
        wire.DATABASE_URL: "sqlite://:memory:",
    }
