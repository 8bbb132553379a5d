"""Runs stages, and runs each test that failed once more when all are done."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import msgspec

from tests.stages.definition import Stage
from tests.stages.results import Result, read_results

__all__ = ["Outcome", "Rerun", "rerun", "run"]

_PROGRESS_EVERY: Final = float(os.environ.get("BANDSTAND_PROGRESS_SECONDS", "30"))
_POLL: Final = 0.1  # seconds
_TESTS_FAILED: Final = 1  # pytest's exit status


class Outcome(msgspec.Struct, kw_only=True):
    """The results of one stage."""

    stage: str
    seconds: float
    status: int  # pytest's exit status
    results: list[Result]

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.outcome == "failed"]

    @property
    def is_broken(self) -> bool:
        """True if the stage failed otherwise than by tests: an error of usage, no test found, a crash."""
        return self.status != 0 and not (self.status == _TESTS_FAILED and self.failed)


class Rerun(msgspec.Struct, kw_only=True):
    """A test that failed, and its second run."""

    stage: str
    test: str
    first: str
    second: str
    passed: bool


class _Run:
    """A stage that runs. Its output is held back until its end where others run beside it."""

    def __init__(self, stage: Stage, *, seed: int, folder: Path, is_alone: bool) -> None:
        self.stage = stage
        self.is_alone = is_alone
        self._log = folder / f"{stage.name.replace('/', '-')}.jsonl"
        self._began = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        sink = None if is_alone else self._output
        command = stage.command(seed=seed, log=self._log)
        sys.stdout.flush()
        self._process = subprocess.Popen(command, cwd=stage.folder, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.wait()  # an interrupt from the terminal reaches pytest too, which then ends its servers
        self._output.close()

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def outcome(self) -> Outcome:
        """Print what was held back, and return the results."""
        if not self.is_alone:
            self._output.seek(0)
            print(f"== {self.stage.name}", flush=True)
            sys.stdout.buffer.write(self._output.read())
        return Outcome(
            stage=self.stage.name,
            seconds=time.monotonic() - self._began,
            status=self._process.wait(),
            results=read_results(self._log),
        )


def run(stages: tuple[Stage, ...], *, seed: int, jobs: int) -> list[Outcome]:
    """Run ``stages``, at most ``jobs`` at once, also when one of them fails."""
    outcomes: list[Outcome] = []
    waiting, running = list(stages), list[_Run]()
    with tempfile.TemporaryDirectory(prefix="bandstand-tests-") as folder, ExitStack() as stack:
        due = time.monotonic() + _PROGRESS_EVERY
        while waiting or running:
            while waiting and len(running) < jobs:
                started = _Run(waiting.pop(0), seed=seed, folder=Path(folder), is_alone=len(stages) == 1)
                print(f"== {started.stage.name} begins", flush=True)
                running.append(stack.enter_context(started))
            for ended in [each for each in running if each.has_ended()]:
                running.remove(ended)
                outcomes.append(ended.outcome())
            if running and not running[0].is_alone and time.monotonic() >= due:
                print(f"== still running: {', '.join(each.stage.name for each in running)}", flush=True)
                due = time.monotonic() + _PROGRESS_EVERY
            time.sleep(_POLL)
    return outcomes


def rerun(stage: Stage, result: Result, *, seed: int) -> Rerun:
    """Run a test that failed once more, alone."""
    with tempfile.TemporaryDirectory(prefix="bandstand-tests-") as folder:
        command = stage.rerun_command(result.test, seed=seed, log=Path(folder, "rerun.jsonl"))
        print(f"== {result.test}, alone", flush=True)
        done = subprocess.run(
            command,
            cwd=stage.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    return Rerun(
        stage=stage.name,
        test=result.test,
        first=result.failure + result.captured,
        second=done.stdout,
        passed=done.returncode == 0,
    )
