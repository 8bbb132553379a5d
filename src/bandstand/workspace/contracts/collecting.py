"""Asks each service what it publishes and reads: ``manage.py contracts --json``, which needs no server."""

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.contracts.model import FORMAT, Platform, ServiceContracts
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["collect"]

_TIMEOUT: Final = 60.0  # seconds, for one service
_AT_ONCE: Final = 4

# What would make a service's answer depend on the shell that asks.
_OWN: Final = frozenset(value for name, value in vars(wire).items() if name.isupper() and isinstance(value, str))
_FOREIGN: Final = ("DJANGO_", "BANDSTAND_", "PYTEST_", "COVERAGE_")


def collect(workspace: Workspace, outer: Mapping[str, str] | None = None) -> Platform:
    """Return what all services of ``workspace`` say.

    They inherit the environment ``outer``, by default this process's own, without what would change their answers.

    Raises:
        WorkspaceError: a service does not answer; the text has what it said instead.
    """
    inherited = dict(os.environ if outer is None else outer)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [pool.submit(_ask, workspace, service, inherited) for service in workspace.services]
        return Platform(name=workspace.name, services=tuple(answer.result() for answer in asked))


def _ask(workspace: Workspace, service: Service, outer: Mapping[str, str]) -> ServiceContracts:
    command = [sys.executable, "manage.py", "contracts", "--json"]
    try:
        done = subprocess.run(
            command,
            cwd=service.folder,
            env=_environment(workspace, service, outer),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(service, f"gave no answer within {_TIMEOUT:.0f} s") from error
    if done.returncode:
        raise _failed(service, f"ended with status {done.returncode}", done.stderr.decode(errors="replace"))
    try:
        lines = done.stdout.splitlines()
        answer = msgspec.json.decode(lines[-1] if lines else b"", type=ServiceContracts)
    except msgspec.MsgspecError as error:
        raise _failed(
            service, f"answered with something else: {error}", done.stderr.decode(errors="replace")
        ) from error
    if answer.format != FORMAT or answer.service != service.name:
        raise _failed(service, f"answered as {answer.service!r} in format {answer.format}")
    return answer


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
        wire.SECRET_KEY: f"{wire.DEVELOPMENT_MARK}contracts",
        wire.DATABASE_URL: "sqlite://:memory:",
    }


def _failed(service: Service, what: str, said: str = "") -> WorkspaceError:
    last = "\n".join(said.strip().splitlines()[-12:])
    return WorkspaceError(
        f"{service.name} was asked for its contracts and {what}.",
        hint=f"{last}\n\nTry it: cd {service.folder} && python manage.py contracts" if last else "",
    )
