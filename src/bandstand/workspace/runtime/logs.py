"""The logs of all processes: raw in bounded files, and line by line to whoever listens."""

from collections import deque
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Final

__all__ = ["LogFile", "Logs"]

_MAX_BYTES: Final = 10 * 1024 * 1024
_MAX_LINE: Final = 64 * 1024
_TAIL: Final = 300
_DROPPED: Final = "Lines of logs are dropped and counted until there is room; the platform goes on."

Listener = Callable[[str, str], None]


class LogFile:
    """Appends to ``path``; at ``max_bytes`` the file becomes ``<name>.1`` and a new one begins.

    It never raises: what the disk does not take is dropped and counted, and the file says how much that was once there
    is room again. ``failing`` is the reason while that lasts.
    """

    def __init__(self, path: Path, *, max_bytes: int = _MAX_BYTES) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.failing: OSError | None = None
        self.lost = 0  # lines, since the last one that was written
        self._file: FileIO | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            self._append_missing_count()
            while rest:
                rest = rest[self._append(rest) :]
        except OSError as error:
            self.failing = error
            self.lost += bytes(rest).count(b"\n") or 1
        else:
            self.failing = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append_missing_count(self) -> None:
        """Append how many lines are missing, on a line of its own: the last one may have been cut off."""
        note = f"\n{self.lost} lines are missing here: they could not be written.\n".encode() if self.lost else b""
        while note:
            note = note[self._append(memoryview(note)) :]
        self.lost = 0

    def _append(self, data: memoryview) -> int:
        if self._file is None:
            self._open()
        elif self._size + len(data) > self.max_bytes and self._size > 0:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file.close()
            self._open()
        assert self._file is not None
        written = self._file.write(data)
        self._size += written
        return written

    def _open(self) -> None:
        self._file = None
        self._file = FileIO(self.path, "ab")
        self._size = self.path.stat().st_size


class Logs:
    """Takes what processes write. ``listener(process, line)`` is called for each line when it is set.

    ``report`` is called with a sentence when a log can't be written, and when all of them can be again.
    """

    def __init__(self, *, max_bytes: int = _MAX_BYTES) -> None:
        self.listener: Listener | None = None
        self.report: Callable[[str], None] | None = None
        self._max_bytes = max_bytes
        self._files: dict[Path, LogFile] = {}
        self._tails: dict[str, deque[str]] = {}
        self._failing: set[Path] = set()

    def sink(self, name: str, path: Path) -> Callable[[bytes], None]:
        """Return where a new run of the process ``name`` writes to. Its tail begins anew."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = LogFile(path, max_bytes=self._max_bytes)
        tail = self._tails[name] = deque(maxlen=_TAIL)
        lines = _Lines()

        def take(data: bytes) -> None:
            file.write(data)
            self._note(file)
            for line in lines.feed(data):
                tail.append(line)
                if self.listener is not None:
                    self.listener(name, line)

        return take

    def _note(self, file: LogFile) -> None:
        """Report once that lines are dropped, and once that they are written again."""
        if file.failing is not None:
            if not self._failing:
                self._say(f"{file.path} can't be written: {file.failing.strerror}. {_DROPPED}")
            self._failing.add(file.path)
        elif file.path in self._failing:
            self._failing.remove(file.path)
            if not self._failing:
                self._say("The logs are written again; each says how many of its lines are missing.")

    def _say(self, text: str) -> None:
        if self.report is not None:
            self.report(text)

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
