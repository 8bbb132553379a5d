"""The summary at the end of a run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from tests.stages.results import Result
from tests.stages.runner import Outcome, Rerun

__all__ = ["MOST_UNSTABLE", "has_passed", "summarize"]

MOST_UNSTABLE: Final = 2
_SLOWEST: Final = 20


def has_passed(outcomes: Sequence[Outcome], reruns: Sequence[Rerun]) -> bool:
    """Return whether no stage is broken, no test failed twice, and no more than two passed only when run alone."""
    return (
        not any(outcome.is_broken for outcome in outcomes)
        and all(rerun.passed for rerun in reruns)
        and len(reruns) <= MOST_UNSTABLE
        and len(reruns) == sum(len(outcome.failed) for outcome in outcomes)
    )


def summarize(outcomes: Sequence[Outcome], reruns: Sequence[Rerun]) -> Iterator[str]:
    """Yield the lines of the summary: stages, the slowest tests, skipped, unstable and failed ones."""
    yield from _stages(outcomes)
    yield from _slowest(outcomes)
    yield from _skipped(outcomes)
    yield from _unstable([rerun for rerun in reruns if rerun.passed])
    yield from _failed(outcomes, reruns)


def _stages(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield ""
    yield f"{'stage':<28}{'passed':>8}{'failed':>8}{'skipped':>8}{'seconds':>9}"
    for outcome in outcomes:
        count = Counter(result.outcome for result in outcome.results)
        counts = "".join(f"{count[each]:>8}" for each in ("passed", "failed", "skipped"))
        yield f"{outcome.stage:<28}{counts}{outcome.seconds:>9.0f}"


def _slowest(outcomes: Sequence[Outcome]) -> Iterator[str]:
    results = sorted(_results(outcomes), key=lambda result: result.seconds, reverse=True)[:_SLOWEST]
    yield ""
    yield f"The {len(results)} slowest tests, in seconds:"
    yield from (f"{result.seconds:>8.1f}  {result.test}" for result in results)


def _skipped(outcomes: Sequence[Outcome]) -> Iterator[str]:
    reasons = Counter(result.reason for result in _results(outcomes) if result.outcome == "skipped")
    if reasons:
        yield ""
        yield f"Skipped: {reasons.total()}"
        yield from (f"{count:>8}  {reason}" for reason, count in reasons.most_common())


def _unstable(reruns: Sequence[Rerun]) -> Iterator[str]:
    for rerun in reruns:
        yield ""
        yield f"UNSTABLE: {rerun.test} failed, and passed when it was run again alone. Find the cause."
        yield "The first run:"
        yield rerun.first
        yield "The second run:"
        yield rerun.second
    if len(reruns) > MOST_UNSTABLE:
        yield f"{len(reruns)} tests are unstable; more than {MOST_UNSTABLE} fail the run."


def _failed(outcomes: Sequence[Outcome], reruns: Sequence[Rerun]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.is_broken:
            yield f"BROKEN: {outcome.stage} ended with status {outcome.status}, and not because of a test."
    passed = {(rerun.stage, rerun.test) for rerun in reruns if rerun.passed}
    for outcome in outcomes:
        for result in outcome.failed:
            if (outcome.stage, result.test) not in passed:
                yield f"FAILED: {result.test} ({outcome.stage})"


def _results(outcomes: Sequence[Outcome]) -> Iterator[Result]:
    return (result for outcome in outcomes for result in outcome.results)
