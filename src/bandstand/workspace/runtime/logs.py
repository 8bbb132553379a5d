"""The logs of all processes: raw in bounded files, and line by line to whoever listens."""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["LogFile", "Logs"]

_MAX_BYTES: Final = 10 * 1024 * 1024
_MAX_LINE: Final = 64 * 1024
_TAIL: Final = 300

Listener = Callable[[str, str], None]


class LogFile:
    """Appends to ``path``; at ``max_bytes`` the file becomes ``<name>.1`` and a new one begins."""

    def __init__(self, path: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._open()

    def write(self, data: bytes) -> None:
        if self._size + len(data) > self.max_bytes and self._size > 0:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._open()
        self._size += self._file.write(data)

    def close(self) -> None:
        self._file.close()

    def _open(self) -> None:
        self._file = self.path.open("ab", buffering=0)
        self._size = self.path.stat().st_size


class Logs:
    """Takes what processes write. ``listener(process, line)`` is called for each line when it is set."""

    def __init__(self, *, max_bytes: int = _MAX_BYTES) -> None:
        self.listener: Listener | None = None
        self._max_bytes = max_bytes
        self._files: dict[Path, LogFile] = {}
        self._tails: dict[str, deque[str]] = {}

    def sink(self, name: str, path: Path) -> Callable[[bytes], None]:
        """Return where a new run of the process ``name`` writes to. Its tail begins anew."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = LogFile(path, max_bytes=self._max_bytes)
        tail = self._tails[name] = deque(maxlen=_TAIL)
        lines = _Lines()

        def take(data: bytes) -> None:
            file.write(data)
            for line in lines.feed(data):
                tail.append(line)
                if self.listener is not None:
                    self.listener(name, line)

        return take

    def tail(self, name: str) -> list[str]:
        """Return the last lines that the last run of ``name`` wrote."""
        return list(self._tails.get(name, ()))

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class _Lines:
    """Cuts a stream of pieces into lines; an endless line is cut at a limit."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > _MAX_LINE:
            lines.append(rest)
            rest = b""
        self._rest = rest
        for line in lines:
            yield line[:_MAX_LINE].decode(errors="replace").rstrip("\r")
