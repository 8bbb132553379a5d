"""Runs make's lanes side by side: each is shown in one piece at its end, and a line now and then tells how far all are.

Make can hold what its targets write too (``--output-sync``), but then it says nothing for the minutes that they take.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

EVERY = float(os.environ.get("BANDSTAND_LANES_SECONDS", "30"))
_LOOK = 0.1  # seconds
_PERCENT = re.compile(rb"\[ *(\d+%)\]")  # as pytest writes it


class Lane:
    """One target that runs, for a ``with`` block."""

    def __init__(self, make: str, name: str) -> None:
        self.name = name
        self._began = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        self._process = subprocess.Popen(
            [make, "--no-print-directory", name],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            close_fds=False,  # make hands its job server down
        )

    def __enter__(self) -> "Lane":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.wait()  # where somebody interrupts, the terminal tells the lanes too, which end their servers
        self._output.close()

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def written(self) -> bytes:
        """All that it wrote so far; the place where it writes on stays where it is."""
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def progress(self) -> str:
        percents = _PERCENT.findall(self.written())
        return f"{self.name} {percents[-1].decode() if percents else 'begins'}"

    def ending(self) -> str:
        words = "passed" if self.status == 0 else f"FAILED with status {self.status}"
        return f"{self.name} {words} after {time.monotonic() - self._began:.0f} s"


def run(make: str, jobs: int, names: list[str]) -> int:
    """Run ``names``, at most ``jobs`` at once, also when one of them fails; return how many did."""
    failed = 0
    with ExitStack() as lanes:
        waiting, running = list(names), list[Lane]()
        due = time.monotonic() + EVERY
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(lanes.enter_context(Lane(make, waiting.pop(0))))
                _say(f"{running[-1].name} begins")
            for lane in [lane for lane in running if lane.status is not None]:
                running.remove(lane)
                failed += lane.status != 0
                _show(lane)
            if running and time.monotonic() >= due:
                _say(", ".join(lane.progress() for lane in running))
                due = time.monotonic() + EVERY
            time.sleep(_LOOK)
    return failed


def _show(lane: Lane) -> None:
    """After the end, since what matters of a failure stands there."""
    sys.stdout.flush()
    sys.stdout.buffer.write(lane.written())
    _say(lane.ending())


def _say(line: str) -> None:
    print(f"== {line}", flush=True)


if __name__ == "__main__":
    make, jobs, *names = sys.argv[1:]
    sys.exit(run(make, int(jobs), names) > 0)
