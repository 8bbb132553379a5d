"""How a contract changed between two commits, field by field."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bandstand.workspace.contracts.comparing import Difference, compare
from bandstand.workspace.contracts.shapes import Document, Schema, Undecidable
from bandstand.workspace.contracts.words import words_for

__all__ = ["Change", "changes", "field_at"]

_DEEPEST: Final = 12


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is different at ``path``. A harmless one promises more than before: a new field, a narrower type."""

    path: str
    words: str
    removed: bool = False
    harmless: bool = False


def changes(before: Schema, now: Schema) -> tuple[Change, ...]:
    """Return what changed, by path. Whoever could read all before can read all now if every change is harmless."""
    if before == now:
        return ()
    old, new = dict(_fields(before)), dict(_fields(now))
    removed = {path for path in old if path not in new and not _below(path, old.keys() - new.keys())}
    added = {path for path in new if path not in old}
    found = [_removal(path, old, new, added) for path in sorted(removed)]
    gone = {change.path for change in found}
    found += [_change(each) for each in compare(now, before, lenient=False) if each.path not in gone]
    left = old.keys() & new.keys() - {change.path for change in found}
    found += [_harmless(path, old[path], new[path]) for path in sorted(left) if old[path] != new[path]]
    return tuple(found)


def field_at(schema: Schema, path: str) -> bool:
    """Say whether ``schema`` has a field at ``path``."""
    return path in dict(_fields(schema))


def _removal(path: str, old: Mapping[str, str], new: Mapping[str, str], added: set[str]) -> Change:
    """A field that came where one went, with the same type, is most likely the same one with another name."""
    parent = path.rpartition(".")[0]
    alike = [each for each in sorted(added) if each.rpartition(".")[0] == parent and new[each] == old[path]]
    renamed = f" Was it renamed to {alike[0]}?" if len(alike) == 1 else ""
    return Change(path=path, words=f"It was {old[path]} and is gone.{renamed}", removed=True)


def _change(difference: Difference) -> Change:
    if difference.why == "optional":
        words = "It was always there and may be left out now."
    elif difference.why == "missing":
        words = f"It was {difference.taken} and is gone."
    else:
        words = f"It was {difference.taken} and is {difference.sent} now."
    return Change(path=difference.path, words=words, removed=difference.why == "missing")


def _harmless(path: str, old: str, new: str) -> Change:
    return Change(path=path, words=f"It was {old} and is now {new}.", harmless=True)


def _below(path: str, paths: set[str]) -> bool:
    """Say whether a field that holds the one at ``path`` is among ``paths``, for then that is all there is to say."""
    return any(path != each and path.startswith((f"{each}.", f"{each}[")) for each in paths)


def _fields(schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield the path of every field with what it holds, in words."""
    document = Document(schema, writer=True)
    yield from _walk(document, schema, "", 0)


def _walk(document: Document, schema: Schema, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if path and not path.endswith("]"):
        yield path, words_for(document, schema)
    if depth > _DEEPEST:
        return
    for inner, name in _inner(document, schema):
        joined = f"{path}{name}" if name.startswith("[") else (f"{path}.{name}" if path else name)
        yield from _walk(document, inner, joined, depth + 1)


def _inner(document: Document, schema: Schema) -> Iterator[tuple[Any, str]]:
    try:
        kinds = document.kinds(schema)
    except Undecidable:
        return
    if kinds.anything:
        return
    for members in kinds.objects:
        yield from ((inner, name) for name, inner in members.fields.items())
        if members.rest:
            yield members.rest, "*"
    if kinds.array is not None:
        yield from ((inner, f"[{index}]") for index, inner in enumerate(kinds.array.prefix))
        if kinds.array.rest:
            yield kinds.array.rest, "[]"
