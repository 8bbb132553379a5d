"""A dependency that is slow, silent, or back again: what its caller answers meanwhile."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bandstand.testing import Fault, FaultProxy

from .nodes import Answer, Node, drive, percentile

pytestmark = [pytest.mark.integration, pytest.mark.fault]

OUTAGE = float(os.environ.get("BANDSTAND_FAULT_SECONDS", "3"))
TRAFFIC = 8.0  # seconds: five of them pass before a circuit has seen twenty calls of a second, four at a time
SLOW = Fault(latency=5.0)
SILENT = Fault(black_hole=True)


class Pair:
    """``caller`` asks ``callee`` through ``proxy``."""

    def __init__(self, stack: ExitStack, folder: Path, **client: Any) -> None:
        self.callee = stack.enter_context(Node(folder, "callee"))
        self.proxy = stack.enter_context(FaultProxy(port=self.callee.port))
        self.caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[self.proxy.url], **client))
        assert {answer.status for answer in drive(self.caller, "/task/", clients=1, count=5)} == {200}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def traffic(caller: Node) -> tuple[list[Answer], list[Answer]]:
    """Let one client ask for what the caller answers by itself, and four for what it has to ask another for."""
    end = time.monotonic() + TRAFFIC
    asked: list[Answer] = []
    asking = threading.Thread(
        target=lambda: asked.extend(
            drive(caller, "/task/", clients=4, until=lambda: time.monotonic() > end, pause=0.02)
        )
    )
    asking.start()
    own = drive(caller, "/own/", clients=1, until=lambda: time.monotonic() > end, pause=0.002)
    asking.join()
    return own, asked


def await_recovery(caller: Node) -> None:
    """Wait until it answers again, at most 15 seconds."""
    began = time.monotonic()
    while drive(caller, "/task/", clients=1, count=1)[0].status != 200:
        assert time.monotonic() - began < 15.0
        time.sleep(0.05)
    print(f"answered again after {time.monotonic() - began:.1f} s")


def test_a_dependency_that_is_five_seconds_slow(stack: ExitStack, tmp_path: Path) -> None:
    """Its caller answers within 1.1 s, leaves it alone within 10 s, and answers everything else as fast as normally.

    What is normal is shown by another caller of the same service that has the same to do at the same time: whatever
    else goes on meanwhile concerns both.
    """
    pair = Pair(stack, tmp_path)
    other = stack.enter_context(Node(tmp_path, "other", asks="callee", at=[pair.callee.url]))
    pair.proxy.fault = SLOW
    began = time.monotonic()
    with ThreadPoolExecutor(2) as executor:
        (unrelated, answers), (usual, well) = executor.map(traffic, (pair.caller, other))
    opened = min(answer.at for answer in answers if answer.code == "circuit_open") - began
    normal, meanwhile = percentile(usual, 0.99), percentile(unrelated, 0.99)
    print(f"own p99 normally {normal * 1000:.2f} ms, here {meanwhile * 1000:.2f} ms over {len(unrelated)}")
    print(f"caller p99 {percentile(answers, 0.99):.3f} s over {len(answers)}, circuit open after {opened:.1f} s")
    assert {answer.status for answer in unrelated + usual + well} == {200}
    assert {answer.status for answer in answers} <= {503, 504}
    assert percentile(answers, 0.99) <= 1.1
    assert opened <= 10.0
    assert meanwhile <= 1.5 * normal


def test_tooth_without_time_limit_and_circuit_everything_waits(stack: ExitStack, tmp_path: Path) -> None:
    """With a long time-out and no circuit each call takes five seconds, and the service's threads are all taken."""
    pair = Pair(stack, tmp_path, TIMEOUT=20, BREAKER="closed")
    pair.proxy.fault = SLOW
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.extend(drive(pair.caller, "/task/", clients=8, count=8)))
    waiting.start()
    while len(pair.caller.seen()) < 5 + 8:
        time.sleep(0.05)
    began = time.monotonic()
    drive(pair.caller, "/own/", clients=1, count=1)
    waited = time.monotonic() - began
    waiting.join()
    assert percentile(answers, 0.99) > 1.1
    assert waited > 1.0


@contextmanager
def silent(proxy: FaultProxy) -> Iterator[None]:
    """Whatever is sent is swallowed."""
    proxy.fault = SILENT
    yield
    proxy.heal()


@pytest.mark.parametrize("away", [silent, FaultProxy.down])
def test_a_dependency_that_is_away_and_comes_back(stack: ExitStack, tmp_path: Path, away: Any) -> None:
    """While the circuit is open answers take at most 20 ms; after the return at least 99 % succeed within 15 s."""
    pair = Pair(stack, tmp_path)
    with away(pair.proxy):
        drive(pair.caller, "/task/", clients=8, count=40)
        accepted, began = pair.proxy.accepted, time.monotonic()
        answers = drive(pair.caller, "/task/", clients=2, until=lambda: time.monotonic() > began + OUTAGE, pause=0.01)
    refused = [answer for answer in answers if answer.code == "circuit_open"]
    probes = pair.proxy.accepted - accepted
    print(f"{len(refused)} of {len(answers)} refused, p99 {percentile(refused, 0.99) * 1000:.1f} ms, {probes} probes")
    assert len(refused) >= 0.9 * len(answers)
    assert percentile(refused, 0.99) <= 0.02
    assert probes <= OUTAGE / 5 + 2
    await_recovery(pair.caller)
    answers = drive(pair.caller, "/task/", clients=2, count=200)
    assert sum(answer.status == 200 for answer in answers) >= 0.99 * len(answers)


def test_tooth_without_the_circuit_each_call_waits(stack: ExitStack, tmp_path: Path) -> None:
    """A call to somebody who is silent takes its whole time, however many failed before it."""
    pair = Pair(stack, tmp_path, BREAKER="closed")
    pair.proxy.fault = SILENT
    answers = drive(pair.caller, "/task/", clients=8, count=40)
    assert not [answer for answer in answers if answer.code == "circuit_open"]
    assert percentile(answers, 0.01) > 0.02
