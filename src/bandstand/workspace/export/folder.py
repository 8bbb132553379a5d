"""A folder that holds rendered files: what is stale in it, and how it is written anew."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from bandstand.exceptions import WorkspaceError
from bandstand.workspace.export.files import File, install

__all__ = ["Difference", "RenderedFolder"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How a folder differs from what is rendered; paths in order.

    ``foreign`` are files that stand where others would be written but do not carry the mark; ``gone`` carry it, and
    are not rendered any more.
    """

    missing: tuple[Path, ...] = ()
    changed: tuple[Path, ...] = ()
    foreign: tuple[Path, ...] = ()
    gone: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return any((self.missing, self.changed, self.foreign, self.gone))


class RenderedFolder(msgspec.Struct, frozen=True):
    """A folder and the ``mark`` that every file of its exporter holds."""

    path: Path
    mark: str

    def compare(self, files: Iterable[File]) -> Difference:
        """Return what :meth:`write` would change."""
        rendered = {self.path / file.path: file.content.encode() for file in files}
        there = {path: path.read_bytes() for path in rendered if path.is_file()}
        differing = [path for path, content in there.items() if content != rendered[path]]
        return Difference(
            missing=tuple(path for path in rendered if path not in there),
            changed=tuple(path for path in differing if self._is_ours(there[path])),
            foreign=tuple(path for path in differing if not self._is_ours(there[path])),
            gone=tuple(path for path in self._ours() if path not in rendered),
        )

    def write(self, files: Iterable[File]) -> Difference:
        """Make the folder hold ``files``, and return what that changed. Deleted is only what was once rendered.

        Raises:
            WorkspaceError: somebody else's file is in the way; nothing was written.
        """
        kept = list(files)
        difference = self.compare(kept)
        if difference.foreign:
            names = ", ".join(str(path) for path in difference.foreign)
            raise WorkspaceError(
                f"{names} would be written over, but does not say that it was rendered.",
                hint="Move it away, or name another folder with --out.",
            )
        install(kept, self.path)
        for path in difference.gone:
            path.unlink()
        return difference

    def _ours(self) -> list[Path]:
        files = (path for path in self.path.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(path for path in files if self._is_ours(path.read_bytes()))

    def _is_ours(self, content: bytes) -> bool:
        return self.mark.encode() in content
