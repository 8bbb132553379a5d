"""The folder that a state file was written in, and the processes that belong to it.

A folder can be copied while its platform runs. The copy then holds the process ids of the original, with the right
times of start, so these alone do not show that a process may be signalled from here.
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

__all__ = ["Origin", "belongs_to", "holds_open", "works_at"]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """A folder by its path and by the numbers that its file system gives it."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, folder: Path) -> "Origin":
        """Return the origin of what is written in ``folder`` now."""
        found = folder.stat()
        return cls(path=str(folder.resolve()), device=found.st_dev, inode=found.st_ino)

    def is_at(self, folder: Path) -> bool:
        """Return whether ``folder`` is this one: in its old place, or moved on its file system.

        Another file system may use the same inode number, and the number of a device may change with a reboot.
        """
        try:
            now = Origin.of(folder)
        except OSError:
            return False
        return self.inode == now.inode and (self.path == now.path or self.device == now.device)


def belongs_to(process: psutil.Process, state_folder: Path) -> bool:
    """Return whether ``process`` works in the workspace of ``state_folder``, or was given a path in the latter.

    A service whose own folder lies elsewhere gets its key and the registry from the state folder.
    """
    state_folder = state_folder.resolve()
    try:
        if _works_below(process, state_folder.parent):
            return True
        given = [*process.cmdline(), *process.environ().values()]
    except (psutil.Error, OSError):
        return False
    return any(value.startswith(f"{state_folder}{os.sep}") for value in given)


def works_at(process: psutil.Process, folder: Path) -> bool:
    """Return whether ``folder`` itself is the working directory of ``process``; a zombie has none any more."""
    try:
        return process.cwd() == str(folder) and _works_below(process, folder)
    except (psutil.Error, OSError):
        return False


def holds_open(pid: int, path: Path) -> bool:
    """Return whether the process ``pid`` has the file ``path`` open; False where that can't be seen."""
    with suppress(psutil.Error, OSError):
        return any(_is_same_file(Path(file.path), path) for file in psutil.Process(pid).open_files())
    return False


def _works_below(process: psutil.Process, folder: Path) -> bool:
    """Compare the folder itself where the system shows it: two mounts may have had the same path."""
    working = Path(process.cwd())
    seen = Path(f"/proc/{process.pid}/cwd")
    return working.is_relative_to(folder) and (not seen.exists() or _is_same_file(seen, working))


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
