"""Why a platform did not start, as one message: who, what the cause was, where all of it is written, what to do."""

from bandstand.exceptions import MigrationFailed, ServerFailed, ServiceFailed, WorkspaceError
from bandstand.workspace.runtime.rendering import cause
from bandstand.workspace.runtime.resources import Process, Resource, Stage, Step, Task
from bandstand.workspace.runtime.supervision import Failure

__all__ = ["explain", "reason_of"]


def explain(failure: Failure, resource: Resource, tail: list[str]) -> WorkspaceError:
    """Return the error to raise; ``tail`` are the last lines that the resource wrote."""
    if isinstance(resource, Step):
        return ServerFailed(f"{resource.label}: {failure.reason}", hint="The servers' logs are in .bandstand/logs/.")
    lines = "\n".join(f"    {line}" for line in cause(tail))
    log = resource.log if isinstance(resource, Process | Task) else ""
    message = f"{_what(resource, failure)}\n{lines or '    It wrote nothing.'}\nAll of it: {log}"
    return _error_type(resource)(message, hint=_remedy(resource, tail) or _next_step(resource, failure))


def reason_of(error: Exception) -> str:
    """Return one message for the user about ``error``, even an unexpected one."""
    return str(error).strip() if isinstance(error, WorkspaceError) else f"{type(error).__name__}: {error}".strip()


def _what(resource: Resource, failure: Failure) -> str:
    if isinstance(resource, Task):
        return f"{resource.label} failed: {failure.reason}."
    if failure.status is None:
        return f"{resource.label} did not become ready: {failure.reason}."
    return f"{resource.label} ends again and again before it is ready: {failure.reason}."


def _error_type(resource: Resource) -> type[WorkspaceError]:
    if resource.service is None:
        return ServerFailed
    return MigrationFailed if resource.name.endswith("-migrate") else ServiceFailed


def _remedy(resource: Resource, tail: list[str]) -> str | None:
    known = resource.remedies if isinstance(resource, Task) else ()
    advice = next(filter(None, (remedy.find(tail) for remedy in known)), None)
    return f"Everything was stopped. {advice} Then `bandstand up` again." if advice else None


def _next_step(resource: Resource, failure: Failure) -> str:
    # Only a server that ended may have found its data damaged; one that was late has another reason.
    if isinstance(resource, Process) and resource.data is not None and failure.status is not None:
        return (
            "Everything was stopped. Mend the cause, then `bandstand up` again. "
            f"If its data is damaged, move {resource.data} away or delete it: "
            "the next start begins anew, and what was in it is lost."
        )
    if resource.service is None:
        return "Everything was stopped. Mend the cause, then `bandstand up` again."
    if resource.stage is Stage.TASK:
        return (
            f"Everything was stopped. Mend {resource.service}, then `bandstand up` again; "
            f"`bandstand migrate {resource.service}` tries its migrations alone."
        )
    return f"Everything was stopped. Mend {resource.service}, then `bandstand up` again."
