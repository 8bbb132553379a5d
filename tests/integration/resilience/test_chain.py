"""A chain of three services whose last one always fails: how often it is asked."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .nodes import PATIENT, Node, drive

pytestmark = [pytest.mark.integration, pytest.mark.fault]

OFFERED = 200
# Retries are a share of the calls alone: how many the floor allows as well depends on how long the calls take.
STRICT: dict[str, Any] = {**PATIENT, "BREAKER": "closed", "RETRY_FLOOR": 0}


def asked(folder: Path, offered: int = OFFERED, **client: Any) -> int:
    """Ask the first of three services so often, in vain; return how often the last was asked."""
    with ExitStack() as stack:
        third = stack.enter_context(Node(folder, "third", fails=True))
        second = stack.enter_context(Node(folder, "second", asks="third", at=[third.url], **client))
        first = stack.enter_context(Node(folder, "first", asks="second", at=[second.url], **client))
        answers = drive(first, "/task/", clients=4, count=offered)
        assert {answer.status for answer in answers} == {503}
        return len(third.seen())


def test_retries_do_not_multiply(tmp_path: Path) -> None:
    """The last service sees at most 1.3 times the load that is offered, with the circuits forced to stay closed."""
    seen = asked(tmp_path, **STRICT)
    assert OFFERED < seen <= 1.3 * OFFERED


def test_tooth_without_budget_and_marker_they_do(tmp_path: Path) -> None:
    """Three tries in each of two services are nine."""
    assert asked(tmp_path, 40, **{**STRICT, "RETRY_MARKED": True, "RETRY_BUDGET": 1.0, "RETRY_FLOOR": 10_000}) == 9 * 40


def test_the_circuit_spares_it_altogether(tmp_path: Path) -> None:
    """As long as its circuit is open the last service is left alone, after some twenty failures."""
    assert asked(tmp_path, **{**PATIENT, "BREAKER_REST": 3600}) < OFFERED / 2
