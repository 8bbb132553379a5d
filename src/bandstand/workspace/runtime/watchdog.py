"""Ends every process of the platform when the runner dies, however it dies; run as a script by the runner.

The runner holds a pipe to this process's standard input and writes ``add GROUP SIGNAL`` and ``remove GROUP`` lines.
When the pipe closes, every process group still known gets its SIGNAL, and after GRACE seconds SIGKILL. A process
group, because a web server's own worker processes must end with it. It imports nothing but the standard library.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

GRACE = 4.0
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)


def watch(lines: Iterable[str]) -> dict[int, int]:
    """Follow the runner's lines until they end; return the groups that are left, with the signal for each."""
    groups: dict[int, int] = {}
    for line in lines:
        match line.split():
            case ["add", group, number]:
                groups[int(group)] = int(number)
            case ["remove", group]:
                groups.pop(int(group), None)
    return groups


def end(groups: dict[int, int], *, grace: float = GRACE) -> None:
    """Signal every group, wait until none has a living process, and kill what is left after ``grace`` seconds."""
    for group, number in groups.items():
        send(group, number)
    deadline = time.monotonic() + grace
    while (left := living(groups)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for group in left:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> None:
    # It may have ended before; on macOS a group of zombies answers with the second error.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def living(groups: Iterable[int]) -> set[int]:
    """Return those of ``groups`` that have a process which is not a zombie."""
    wanted = set(groups)
    if Path("/proc/self").is_dir():
        return {group for group, state in processes() if group in wanted and state not in "ZX"}
    return {group for group in wanted if exists(group)}


def processes() -> Iterator[tuple[int, str]]:
    """Yield the process group and the state letter of every process (Linux)."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it may end while we look
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                yield int(fields[2]), fields[0].decode()


def exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return sys.platform != "darwin"
    return True


def main() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    end(watch(sys.stdin))


if __name__ == "__main__":
    main()
