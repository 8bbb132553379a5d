"""The layers that a policy is put together from, and which of them each value comes from."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.resilience import Policy
from bandstand.workspace.asking import ask
from bandstand.workspace.manifest import FILE_NAME, Service, Workspace

__all__ = ["Value", "asked_settings", "values"]

_DEFAULT: Final = "default"


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a policy, and where it comes from."""

    value: Any
    source: str


class _Answer(msgspec.Struct, frozen=True):
    service: str
    client: dict[str, Any]


def asked_settings(workspace: Workspace, service: Service) -> dict[str, Any]:
    """Return ``BANDSTAND["CLIENT"]`` of the service as its settings alone have it.

    Raises:
        WorkspaceError: it does not answer.
    """
    line = ask(workspace, service, "policies")
    try:
        return msgspec.json.decode(line, type=_Answer).client
    except msgspec.MsgspecError as error:
        raise WorkspaceError(f"{service.name} was asked for its policies and answered something else.") from error


def values(workspace: Workspace, caller: Service, callee: str, settings: Mapping[str, Any]) -> dict[str, Value]:
    """Return each value of the policy of ``caller`` for ``callee``; ``settings`` is what the caller's own say.

    What is said of the target goes before what is said of all, and of two that say the same the settings.
    """
    found = {name: Value(value=value, source=_DEFAULT) for name, value in msgspec.structs.asdict(Policy()).items()}
    for source, layer in _layers(workspace, caller, callee, settings):
        found |= {name: Value(value=value, source=source) for name, value in layer.items()}
    return found


def _layers(
    workspace: Workspace, caller: Service, callee: str, settings: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    own = _lowered(settings)
    targets = own.pop("targets", {})
    place = f'settings of {caller.name}: BANDSTAND["CLIENT"]'
    yield f"{FILE_NAME}: [policy]", workspace.policy
    yield place, own
    yield f"{FILE_NAME}: [services.{caller.name}.policies.{callee}]", caller.policies.get(callee, {})
    yield f'{place}["TARGETS"]["{callee}"]', _lowered(targets.get(callee, {}))


def _lowered(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in keys.items()}
