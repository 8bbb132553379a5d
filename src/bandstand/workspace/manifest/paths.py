"""What a written route path means: its canonical form, its alias without the version, and what lies below it."""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["aliases", "canonical", "is_exact", "overlap", "path_fault"]

_API: Final = "/api"
_VERSIONED: Final = re.compile(r"\A/api/v([0-9]+)(/.+)\Z")
_BARE_VERSION: Final = re.compile(r"\A/api(/v[0-9]+)?\Z")


def canonical(path: str) -> str:
    """Return ``path`` without the slash at its end."""
    return path.rstrip("/")


def is_exact(path: str) -> bool:
    """Tell whether a path as written means itself alone: outside the API and without a slash at its end."""
    return not path.startswith(f"{_API}/") and not path.endswith("/")


def aliases(paths: Iterable[str]) -> dict[str, str]:
    """Return the alias without the version of each canonical path that has one.

    Where several versions of a resource are routed, the lowest one has the alias: clients that never named a version
    keep the one that they were written for.
    """
    found: dict[str, tuple[int, str]] = {}
    for path in paths:
        if match := _VERSIONED.match(path):
            alias, version = _API + match[2], int(match[1])
            if alias not in found or version < found[alias][0]:
                found[alias] = (version, path)
    return {path: alias for alias, (_, path) in found.items()}


def overlap(path: str, other: str) -> bool:
    """Tell whether one of two canonical paths is the other or lies below it."""
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def path_fault(path: str) -> str:
    """Return what is wrong with a path of the right form, or an empty text."""
    if _BARE_VERSION.match(canonical(path)):
        return 'which would open everything below it; name a resource, such as "/api/v1/users".'
    return ""
