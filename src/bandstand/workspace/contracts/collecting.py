"""Asks each service what it publishes and reads: ``manage.py contracts --json``, which needs no server."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.asking import ask
from bandstand.workspace.contracts.model import FORMAT, Platform, ServiceContracts
from bandstand.workspace.manifest import Service, Workspace

__all__ = ["collect"]

_AT_ONCE: Final = 4


def collect(workspace: Workspace, outer: Mapping[str, str] | None = None) -> Platform:
    """Return what all services of ``workspace`` say.

    They inherit the environment ``outer``, by default this process's own, without what would change their answers.

    Raises:
        WorkspaceError: a service does not answer; the text has what it said instead.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [pool.submit(_ask, workspace, service, outer) for service in workspace.services]
        return Platform(name=workspace.name, services=tuple(answer.result() for answer in asked))


def _ask(workspace: Workspace, service: Service, outer: Mapping[str, str] | None) -> ServiceContracts:
    line = ask(workspace, service, "contracts", outer=outer)
    try:
        answer = msgspec.json.decode(line, type=ServiceContracts)
    except msgspec.MsgspecError as error:
        raise _failed(service, f"answered with something else: {error}") from error
    if answer.format != FORMAT or answer.service != service.name:
        raise _failed(service, f"answered as {answer.service!r} in format {answer.format}")
    return answer


def _failed(service: Service, what: str) -> WorkspaceError:
    return WorkspaceError(f"{service.name} was asked for its contracts and {what}.")
