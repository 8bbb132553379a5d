"""The policy of one pair, and the worst case of a call, alone and with all that it sets off."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Final

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.resilience import Policy
from bandstand.workspace.manifest import Service, Workspace
from bandstand.workspace.policies.sources import Value, asked_settings, values

__all__ = ["Chain", "Explanation", "explain"]

Asking = Callable[[Workspace, Service], Mapping[str, Any]]

_AT_ONCE: Final = 4


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Services that call each other, and the most that one call to the first brings upon the last.

    ``attempts`` reach the last one, ``blind`` would if each repeated whatever failed, and after ``seconds`` the first
    caller has its answer or its error, whatever happens.
    """

    services: tuple[str, ...]
    attempts: int
    blind: int
    seconds: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The policy of ``caller`` for ``callee``; ``notices`` is what could not be found out.

    ``chains`` begins with the two alone. They are for calls that may be repeated; a write without an idempotency key
    is one attempt at each service.
    """

    caller: str
    callee: str
    policy: dict[str, Value]
    chains: tuple[Chain, ...]
    notices: tuple[str, ...]


def explain(workspace: Workspace, caller: str, callee: str, *, asking: Asking = asked_settings) -> Explanation:
    """Return what holds for calls of ``caller`` to ``callee``; ``asking`` reads a service's settings.

    A service that does not answer is explained from the manifest alone, and a notice says so.

    Raises:
        WorkspaceError: there is no such service, or the one does not call the other.
    """
    service = workspace.service(caller)
    if workspace.service(callee).name not in service.calls:
        others = ", ".join(service.calls) or "nobody"
        hint = f"It calls {others}. Add {callee} to its calls in the manifest if it should."
        raise WorkspaceError(f"{caller} does not call {callee}.", hint=hint)
    paths = tuple(_paths(workspace, (caller, callee)))
    settings, notices = _settings(workspace, {name for path in paths for name in path[:-1]}, asking)

    def policy(one: str, other: str) -> dict[str, Value]:
        return values(workspace, workspace.service(one), other, settings.get(one, {}))

    return Explanation(
        caller=caller,
        callee=callee,
        policy=policy(caller, callee),
        chains=tuple(_chain(path, policy) for path in paths),
        notices=notices,
    )


def _paths(workspace: Workspace, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The path, and each that goes on from it; a service that is on it already is not asked again."""
    yield path
    for callee in workspace.service(path[-1]).calls:
        if callee not in path:
            yield from _paths(workspace, (*path, callee))


def _settings(
    workspace: Workspace, names: set[str], asking: Asking
) -> tuple[dict[str, Mapping[str, Any]], tuple[str, ...]]:
    settings: dict[str, Mapping[str, Any]] = {}
    notices = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = {name: pool.submit(asking, workspace, workspace.service(name)) for name in sorted(names)}
    for name, answer in asked.items():
        try:
            settings[name] = answer.result()
        except (WorkspaceError, OSError) as error:
            notices.append(f"The settings of {name} can't be read, so only the manifest counts: {error}")
    return settings, tuple(notices)


def _chain(path: tuple[str, ...], policy: Callable[[str, str], dict[str, Value]]) -> Chain:
    """Each hop has its own retries, but whoever is asked by a retry makes none: so they add up and do not multiply.

    The time is that of the first hop: nobody works on past its caller's deadline, and a shorter one further down is no
    end, since it may begin as late as one likes, and once more with each retry above it.
    """
    hops = [Policy(**{name: value.value for name, value in policy(*pair).items()}) for pair in pairwise(path)]
    attempts = blind = 1
    for hop in hops:
        attempts = attempts * (hop.retries + 1) if hop.retry_marked else attempts + hop.retries
        blind *= hop.retries + 1
    return Chain(services=path, attempts=attempts, blind=blind, seconds=hops[0].timeout)
