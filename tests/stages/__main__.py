"""Runs stages of the test suite one after the other, and prints a summary of all.

A test that fails is run once more, alone, when the stages are done. If it passes then, it is shown as UNSTABLE and does
not fail the run, unless there are more than two of them.
"""

import argparse
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tests.stages.definition import STAGES, Stage
from tests.stages.load import busy, cores
from tests.stages.runner import Outcome, Rerun, rerun, run
from tests.stages.summary import has_passed, summarize

_MOST_RERUNS: Final = 10  # with more failures, something is broken that a second run will not explain


class Record(msgspec.Struct, kw_only=True):
    """What one command ran. Commands that share a file print one summary."""

    outcomes: list[Outcome] = []
    reruns: list[Rerun] = []


def main(arguments: list[str]) -> int:
    """Run the stages that ``arguments`` name, and return the exit status."""
    options = _parser().parse_args(arguments)
    record = _earlier(options.record)
    print(f"== seed {options.seed} (SEED={options.seed} repeats the order of the tests)", flush=True)
    groups = [STAGES[name] for name in options.stages]
    with busy(cores() if options.busy else 0):
        outcomes = [outcome for group in groups for outcome in run(group, seed=options.seed, jobs=options.jobs)]
    reruns = list(_reruns([stage for group in groups for stage in group], outcomes, options.seed))
    record = Record(outcomes=record.outcomes + outcomes, reruns=record.reruns + reruns)
    if options.record:
        options.record.write_bytes(msgspec.json.encode(record))
    print("\n".join(summarize(record.outcomes, record.reruns)), flush=True)
    return 0 if has_passed(record.outcomes, record.reruns) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.stages", description=__doc__)
    parser.add_argument("stages", nargs="+", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--jobs", type=int, default=2, help="how many stages of one name run at once (%(default)s)")
    parser.add_argument("--seed", type=int, default=_seed(), help="the seed of the order of tests (random)")
    parser.add_argument("--busy", action="store_true", help="keep every core busy with other work, as a slow machine")
    parser.add_argument("--record", type=Path, help="a file that adds this run's results to those of earlier ones")
    return parser


def _seed() -> int:
    return int(os.environ.get("SEED") or random.randrange(2**32))


def _earlier(record: Path | None) -> Record:
    if record is None or not record.exists():
        return Record()
    return msgspec.json.decode(record.read_bytes(), type=Record)


def _reruns(stages: list[Stage], outcomes: list[Outcome], seed: int) -> Iterator[Rerun]:
    by_name = {stage.name: stage for stage in stages}
    failed = [(by_name[outcome.stage], result) for outcome in outcomes for result in outcome.failed]
    if len(failed) > _MOST_RERUNS:
        print(f"== {len(failed)} tests failed; none is run again, since so many at once are no coincidence.")
        return
    for stage, result in failed:
        yield rerun(stage, result, seed=seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
