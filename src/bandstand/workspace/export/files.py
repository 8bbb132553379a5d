"""What exporters yield, and how it gets onto the disk."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from bandstand.workspace.manifest import Workspace

__all__ = ["File", "Render", "install"]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A text file to be: ``path`` is relative to the folder that the exporter was asked to fill."""

    path: PurePosixPath
    content: str


class Render(Protocol):
    """An exporter that needs nothing but the workspace."""

    def __call__(self, workspace: Workspace) -> Iterator[File]: ...


def install(files: Iterable[File], folder: Path) -> list[Path]:
    """Write ``files`` below ``folder``, in their order, and return the paths of those that changed.

    Each file appears by a rename: a reader sees the old content or the new, and Envoy, which watches for renames
    alone, sees it at once. A file whose content is the same is left untouched.
    """
    return [path for file in files if _replace(path := folder / file.path, file.content)]


def _replace(path: Path, content: str) -> bool:
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(content, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error  # the system names no file
    return True
