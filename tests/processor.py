"""Which processes of a test get the processor first, and how long one took that did not get it.

A deployment has its machine for itself. A test that restarts one under load, beside everything else that goes on there,
would measure that everything else: calls between services end after a second, whatever keeps them waiting.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

__all__ = ["forget_group", "make_group", "own_time", "preferred", "run_delay"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
_VERSIONS: Final = ((_CGROUPS / "cpu", "cpu.shares", 1024), (_CGROUPS, "cpu.weight", 100))
_TIMES: Final = 30
_THIS_THREAD: Final = Path("/proc/thread-self")


def own_time() -> float:
    """Return the seconds of a clock that stands still while this thread could run and has no processor.

    So what somebody took can be held to its limit on a busy machine, too.
    """
    return time.monotonic() - run_delay()


def run_delay(thread: Path = _THIS_THREAD) -> float:
    """Return the seconds that a thread has waited for a processor, as Linux counts them (sched-stats.rst).

    ``thread`` is its folder in /proc.
    """
    try:
        return int((thread / "schedstat").read_bytes().split()[1]) / 1e9
    except OSError:  # another system, a kernel without them, or the thread has ended
        return 0.0


def make_group(name: str) -> Path | None:
    """Make a control group that gets thirty times the usual share where the processor is short; return its folder.

    None where this system does not let us: then the tests run like everything else.
    """
    for root, weight, usual in _VERSIONS:
        folder = root / name
        with suppress(OSError):
            if (root / "cgroup.procs").exists():
                folder.mkdir(exist_ok=True)
                (folder / weight).write_text(str(_TIMES * usual))
                return folder
    return None


def forget_group(name: str) -> None:
    """Remove the group, which each controller of version 1 may have; one in which something still runs stays."""
    for top in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")):
        for folder, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


@contextmanager
def preferred(name: str) -> Iterator[None]:
    """Prefer this process inside the block, and for good what it starts there."""
    folder, before = make_group(name), _own_group()
    try:
        if folder is not None:
            _move(folder)
        yield
    finally:
        if folder is not None:
            _move(folder.parent / before.lstrip("/"))
        forget_group(name)


def _own_group() -> str:
    """Return the path of this process's group, below the controller's root."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    groups = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    return next((path for controllers, path in groups.items() if "cpu" in controllers.split(",")), groups.get("", "/"))


def _move(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))
