"""The contracts of before: what ``contracts/`` holds, and what it held in another commit."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from bandstand.workspace.contracts.checking import Promise
from bandstand.workspace.contracts.findings import Finding
from bandstand.workspace.contracts.model import Event
from bandstand.workspace.contracts.rendering import MARK
from bandstand.workspace.export import File, RenderedFolder
from bandstand.workspace.revisions import commit_of, git, known_commit

__all__ = ["Baseline", "baseline", "stale", "write"]

_HEADER: Final = ("$comment", "$schema", "$id", "x-publisher")


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What was promised; ``name`` says where that was read."""

    name: str
    promises: Mapping[Event, Promise]


def write(files: Iterable[File], folder: Path) -> tuple[list[Path], list[Path]]:
    """Make ``folder`` hold ``files``; return those that changed and those that were deleted.

    Deleted is only what was once written by us and is no contract any more.
    """
    difference = RenderedFolder(folder, MARK).write(files)
    return [*difference.missing, *difference.changed], list(difference.gone)


def stale(files: Iterable[File], folder: Path) -> Iterator[Finding]:
    """Yield what ``write`` would change."""
    difference = RenderedFolder(folder, MARK).compare(files)
    for path in difference.missing:
        yield _stale(path, "is missing")
    for path in (*difference.changed, *difference.foreign):
        yield _stale(path, "is not what the services say")
    for path in difference.gone:
        yield _stale(path, "is of an event or a service that is gone")


def _stale(path: Path, what: str) -> Finding:
    return Finding(
        code="stale_file",
        file=str(path),
        message=f"{path.parent.name}/{path.name} {what}.",
        hint="Run `bandstand contracts write`, look at the difference, and commit it.",
    )


def _ours(folder: Path) -> list[Path]:
    files = sorted((*folder.glob("*.json"), *folder.glob("*.yaml")))
    return [path for path in files if MARK.encode() in path.read_bytes()]


def baseline(folder: Path, revision: str | None) -> Baseline:
    """Return what was promised at the git ``revision``; without one at HEAD, or outside of git in ``folder`` itself.

    Raises:
        WorkspaceError: git does not know the revision.
    """
    beside = folder.parent  # the folder itself need not exist
    commit = known_commit(beside, revision) if revision else commit_of(beside, "HEAD")
    if commit is not None:
        names = (git(beside, "ls-tree", "--name-only", commit, f"{folder.name}/") or "").splitlines()
        shown = (git(beside, "show", f"{commit}:./{name}") for name in names if name.endswith(".json"))
        return Baseline(name=revision or "HEAD", promises=_promises(filter(None, shown)))
    texts = (path.read_text(encoding="utf-8") for path in _ours(folder) if path.suffix == ".json")
    return Baseline(name=f"{folder.name}/", promises=_promises(texts))


def _promises(texts: Iterable[str]) -> dict[Event, Promise]:
    return {event: promise for text in texts for event, promise in _promise(text)}


def _promise(text: str) -> Iterator[tuple[Event, Promise]]:
    """A file that somebody broke by hand is no promise; that it is stale is told anyway."""
    try:
        value: Any = msgspec.json.decode(text)
        event_type, _, version = value["$id"].removeprefix("bandstand:").rpartition("/")
        service = value["x-publisher"]
        event = Event(type=event_type, version=int(version))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, ValueError):
        return
    schema = {key: inner for key, inner in value.items() if key not in _HEADER}
    yield event, Promise(service=service, schema=schema)
