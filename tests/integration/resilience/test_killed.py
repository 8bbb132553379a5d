"""Instances that end in the middle of their work: what their callers notice, and what is done twice."""

import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from bandstand.testing import Fault, FaultProxy

from .nodes import Answer, Node, drive

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def kill(node: Node) -> None:
    """SIGKILL, to all processes of it, the one first that would start the others anew."""
    assert node.process is not None
    children = psutil.Process(node.process.pid).children(recursive=True)
    node.process.kill()
    for child in children:
        child.kill()
    node.process.wait()


def killed_under_load(folder: Path, **client: Any) -> tuple[list[Answer], float, Counter[str]]:
    """Return the answers to GET, the moment of the kill, and how often each POST arrived anywhere."""
    with ExitStack() as stack:
        callees = [stack.enter_context(Node(folder, f"callee-{number}")) for number in (1, 2)]
        urls = [callee.url for callee in callees]
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=urls, **client))
        over = threading.Event()
        reads: list[Answer] = []
        writing = threading.Thread(
            target=drive,
            args=(caller, "/task/?id={n}"),
            kwargs={"clients": 2, "count": 1_000_000, "until": over.is_set, "method": "POST"},
        )
        reading = threading.Thread(target=lambda: reads.extend(drive(caller, "/task/", clients=2, until=over.is_set)))
        writing.start()
        reading.start()
        time.sleep(2.0)
        at = time.monotonic()
        kill(callees[0])
        time.sleep(4.0)
        over.set()
        reading.join()
        writing.join()
        assert all(len(callee.seen()) > 20 for callee in callees)  # both had work
        arrived = Counter(line for callee in callees for line in callee.seen() if line.startswith("POST"))
    return reads, at, arrived


def test_callers_of_a_killed_instance(tmp_path: Path) -> None:
    """At most 0.5 % of reads fail in the first second, none after two; no write without a key arrives twice."""
    reads, at, arrived = killed_under_load(tmp_path)
    first = [answer for answer in reads if at <= answer.at < at + 1.0]
    later = [answer for answer in reads if answer.at >= at + 2.0]
    failed = [answer for answer in first if answer.status != 200]
    print(f"{len(failed)} of {len(first)} reads failed in the first second; {len(later)} later; {len(arrived)} writes")
    assert len(failed) <= 0.005 * len(first)
    assert {answer.status for answer in later} == {200}
    assert arrived
    assert set(arrived.values()) == {1}


def test_tooth_without_retries_and_ejection_reads_fail(tmp_path: Path) -> None:
    """Whoever neither tries again nor leaves out the dead one fails for as long as it is listed."""
    reads, at, _ = killed_under_load(tmp_path, RETRIES=0, EJECTION_SHARE=0, BREAKER="closed")
    later = [answer for answer in reads if answer.at >= at + 2.0]
    assert sum(answer.status != 200 for answer in later) > 0.005 * len(later)


def arrivals(folder: Path, path: str) -> Counter[str]:
    """Make ten writes whose answers are lost on their way back; return how often each arrived."""
    with ExitStack() as stack:
        callee = stack.enter_context(Node(folder, "callee"))
        proxy = stack.enter_context(FaultProxy(port=callee.port))
        caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[proxy.url]))
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
