"""Reads the logs of a workspace, running or not: the last lines of many files in one order, and what follows."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bandstand.workspace.runtime.rendering import moment

__all__ = ["Follower", "last_lines"]

_BLOCK: Final = 64 * 1024


def last_lines(files: Mapping[str, Path], count: int) -> list[tuple[str, str]]:
    """Return the last ``count`` lines of all ``files`` together, with their names, in the order of their time.

    A line without a time of its own, as in a traceback, stays behind the line before it.
    """
    dated: list[tuple[str, str, str]] = []
    for name, path in files.items():
        latest = ""
        for line in _tail(path, count):
            latest = moment(line) or latest
            dated.append((latest, name, line))
    dated.sort(key=lambda entry: entry[0])
    return [(name, line) for _, name, line in dated[-count:]] if count else []


class Follower:
    """Returns what is added to a log from now on, also when a new file takes its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb") if path.exists() else None
        if self._file is not None:
            self._file.seek(0, 2)
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """Yield the lines that were finished since the last call."""
        if self._file is not None:
            yield from self._read()
        if self._was_replaced():
            self.close()
            self._file = self._path.open("rb")
            yield from self._read()

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()

    def _read(self) -> Iterator[str]:
        if self._file is None:
            return
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")

    def _was_replaced(self) -> bool:
        if not self._path.exists():
            return False
        return self._file is None or self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino


def _tail(path: Path, count: int) -> list[str]:
    """Return the last ``count`` lines of a file without reading all of it."""
    if count <= 0 or not path.exists():
        return []
    with path.open("rb") as file:
        position = file.seek(0, 2)
        data = b""
        while position > 0 and data.count(b"\n") <= count:
            step = min(_BLOCK, position)
            position = file.seek(position - step)
            data = file.read(step) + data
    return [line.decode(errors="replace") for line in data.splitlines()[-count:]]
