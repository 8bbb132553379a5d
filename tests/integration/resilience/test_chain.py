"""A chain of three services whose last one always fails: how often it is asked."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .nodes import Node, drive

pytestmark = [pytest.mark.integration, pytest.mark.fault]

OFFERED = 800


def asked(folder: Path, offered: int = OFFERED, **client: Any) -> tuple[int, float]:
    """Ask the first of three services so often; return how often the last was asked, and the seconds."""
    with ExitStack() as stack:
        third = stack.enter_context(Node(folder, "third", fails=True))
        second = stack.enter_context(Node(folder, "second", asks="third", at=[third.url], **client))
        first = stack.enter_context(Node(folder, "first", asks="second", at=[second.url], **client))
        began = time.monotonic()
        answers = drive(first, "/task/", clients=4, count=offered)
        seconds = time.monotonic() - began
        assert {answer.status for answer in answers} == {503}
        return len(third.seen()), seconds


def test_retries_do_not_multiply(tmp_path: Path) -> None:
    """The last service sees at most 1.3 times the load that is offered, with the circuits forced to stay closed."""
    seen, seconds = asked(tmp_path, BREAKER="closed")
    print(f"{seen} of {OFFERED} ({seen / OFFERED:.2f}) in {seconds:.1f} s")
    # Where a busy machine makes the rate small, the floor of 3 retries a second, saved up for 10 s, is more than 10 %.
    assert seen <= max(1.3 * OFFERED, 1.2 * OFFERED + 3 * (10 + seconds) + 10)


def test_tooth_without_budget_and_marker_they_do(tmp_path: Path) -> None:
    """Three tries in each of two services are nine."""
    seen, _ = asked(tmp_path, 100, BREAKER="closed", RETRY_MARKED=True, RETRY_BUDGET=1.0, RETRY_FLOOR=10_000)
    assert seen > 5 * 100


def test_the_circuit_spares_it_altogether(tmp_path: Path) -> None:
    """With everything as it comes the last service is left alone after some twenty failures."""
    seen, _ = asked(tmp_path, 200)
    assert seen < 100
