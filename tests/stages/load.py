"""Other work that keeps the processors busy while tests run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["busy", "cores"]

# Ends by itself when its parent has gone, however that ended.
_WORK: Final = """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(1_000_000))
"""


@contextmanager
def busy(processes: int) -> Iterator[list[int]]:
    """Keep as many processors busy while the block runs; yield the ids of the processes that do."""
    started = [subprocess.Popen([sys.executable, "-S", "-E", "-c", _WORK]) for _ in range(processes)]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
