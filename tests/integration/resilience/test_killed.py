"""Instances that end in the middle of their work: what their callers notice, and what is done twice."""

import functools
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bandstand.testing import Fault, FaultProxy
from tests.waiting import until

from .nodes import PATIENT, Answer, Node, drive, in_background, kill

pytestmark = [pytest.mark.integration, pytest.mark.fault]


BEFORE = 100  # requests that each of two instances has when one is killed
AFTER = 400  # requests that are made later


def killed_under_load(folder: Path, **client: Any) -> tuple[list[Answer], Counter[str]]:
    """Return the answers to GET from the kill on, and how often each POST arrived anywhere."""
    with ExitStack() as stack:
        callees = [stack.enter_context(Node(folder, f"callee-{number}")) for number in (1, 2)]
        urls = [callee.url for callee in callees]
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=urls, **PATIENT, **client))
        over = threading.Event()
        load = functools.partial(drive, caller, clients=2, until=over.is_set)
        with (
            in_background(lambda: load("/task/?id={n}", count=1_000_000, method="POST")),
            in_background(lambda: load("/task/")) as reads,
        ):
            try:
                until(lambda: all(len(callee.seen()) > BEFORE for callee in callees), "work for both")
                at = time.monotonic()
                kill(callees[0])
                enough = len(caller.seen()) + AFTER
                until(lambda: len(caller.seen()) > enough, "work after the kill")
            finally:
                over.set()
        arrived = Counter(line for callee in callees for line in callee.seen() if line.startswith("POST"))
    return [answer for answer in reads if answer.at >= at], arrived


def test_callers_of_a_killed_instance(tmp_path: Path) -> None:
    """No read fails, since the other instance is asked; and no write without a key arrives twice."""
    reads, arrived = killed_under_load(tmp_path)
    assert Counter(answer.status for answer in reads) == {200: len(reads)}
    assert set(arrived.values()) == {1}


def test_tooth_without_retries_and_ejection_reads_fail(tmp_path: Path) -> None:
    """Whoever neither tries again nor leaves out the dead one fails for as long as it is listed."""
    reads, _ = killed_under_load(tmp_path, RETRIES=0, EJECTION_SHARE=0, BREAKER="closed")
    failed = [answer.status != 200 for answer in reads]
    assert any(failed[: len(failed) // 2])
    assert any(failed[len(failed) // 2 :])


def arrivals(folder: Path, path: str) -> Counter[str]:
    """Make ten writes whose answers are lost on their way back; return how often each arrived."""
    with ExitStack() as stack:
        callee = stack.enter_context(Node(folder, "callee"))
        proxy = stack.enter_context(FaultProxy(port=callee.port))
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[proxy.url], **PATIENT))
        proxy.fault = Fault(limit=1)
        answers = drive(caller, path, clients=1, count=10, method="POST")
        assert {answer.status for answer in answers} == {503}
        return Counter(callee.seen())


def test_a_write_whose_answer_is_lost_is_not_repeated(tmp_path: Path) -> None:
    """It may have been done, so a write without a key is sent once, and its caller is told."""
    assert arrivals(tmp_path, "/task/?id={n}") == {f"POST {number}": 1 for number in range(10)}


def test_tooth_with_a_key_it_is(tmp_path: Path) -> None:
    """What is safe to repeat is repeated, so the count above would show it."""
    assert arrivals(tmp_path, "/task/?id={n}&key=k{n}") == {f"POST {number}": 3 for number in range(10)}
