"""A fingerprint of everything that decides what a service's migrations do, to skip those that were applied.

It covers the service's own Python files, those of packages installed as editable, and the name and version of every
installed package. It errs to one side only: a change that has nothing to do with migrations makes them run once more.
"""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

__all__ = ["environment_fingerprint", "service_fingerprint"]

_IGNORED: Final = frozenset({".git", ".bandstand", ".venv", "node_modules", "__pycache__", "tests", "media", "static"})


def service_fingerprint(folder: Path, environment: str) -> str:
    """Return the fingerprint of the service in ``folder`` within ``environment``."""
    digest = hashlib.sha256(environment.encode())
    for path in sorted(_sources(folder)):
        digest.update(f"\0{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def environment_fingerprint() -> str:
    """Return the fingerprint of this Python, its installed packages and the sources of editable ones."""
    digest = hashlib.sha256(sys.version.encode())
    for line in sorted(_packages()):
        digest.update(f"\0{line}".encode())
    return digest.hexdigest()


def _packages() -> Iterator[str]:
    for found in distributions():
        yield f"{found.metadata['Name']}=={found.version}"
        editable = _editable(found.read_text("direct_url.json"))
        if editable is not None:
            yield from _migration_lines(editable)


def _editable(direct_url: str | None) -> Path | None:
    """Return the project folder of a package installed as editable (PEP 610)."""
    if direct_url is None:
        return None
    origin = msgspec.json.decode(direct_url)
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))


def _migration_lines(project: Path) -> Iterator[str]:
    """Of an editable package only models and migrations count, since it is large and changes all the time."""
    for path in _sources(project):
        if path.parent.name == "migrations" or "models" in path.stem or path.stem in {"apps", "tables"}:
            yield f"{path}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _sources(folder: Path) -> Iterable[Path]:
    for path in folder.iterdir():
        if path.name in _IGNORED or path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _sources(path)
        elif path.suffix == ".py":
            yield path
