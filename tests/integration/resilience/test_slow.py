"""A dependency that is slow, silent, or back again: what its caller answers meanwhile."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bandstand.testing import Fault, FaultProxy
from tests.waiting import GUARD, until

from .nodes import PATIENT, Node, drive, in_background

pytestmark = [pytest.mark.integration, pytest.mark.fault]

OUTAGE = float(os.environ.get("BANDSTAND_FAULT_SECONDS", "0"))
THREADS = 8  # of each service
WARM = 5
NEVER = Fault(latency=2 * GUARD)
SILENT = Fault(black_hole=True)
# A circuit opens after the first call of each thread.
IMPATIENT: dict[str, Any] = {"TIMEOUT": 4, "CONNECT_TIMEOUT": 4, "BREAKER_CALLS": THREADS}


class Pair:
    """``caller`` asks ``callee`` through ``proxy``."""

    def __init__(self, stack: ExitStack, folder: Path, **client: Any) -> None:
        self.callee = stack.enter_context(Node(folder, "callee"))
        self.proxy = stack.enter_context(FaultProxy(port=self.callee.port))
        self.caller = stack.enter_context(Node(folder, "caller", asks="callee", at=[self.proxy.url], **client))
        assert {answer.status for answer in drive(self.caller, "/task/", clients=1, count=WARM)} == {200}

    def ask(self, count: int) -> list[tuple[int, str]]:
        """Return status and code of so many answers, eight at a time."""
        answers = drive(self.caller, "/task/", clients=THREADS, count=count)
        return [(answer.status, answer.code) for answer in answers]

    def open_circuit(self) -> None:
        until(lambda: (503, "circuit_open") in self.ask(THREADS), "an open circuit")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_calls_to_a_dependency_that_is_slow_end(stack: ExitStack, tmp_path: Path) -> None:
    """Its caller tells that the time is over, though the answer is still to come, and then leaves it alone."""
    pair = Pair(stack, tmp_path, **IMPATIENT, BREAKER_REST=3600)
    pair.proxy.fault = NEVER
    first = pair.ask(THREADS)
    assert {status for status, _ in first} <= {503, 504}
    assert (504, "service_timeout") in first
    pair.open_circuit()
    arrived = len(pair.callee.seen())
    assert set(pair.ask(100)) == {(503, "circuit_open")}
    assert len(pair.callee.seen()) == arrived


def test_while_a_dependency_is_slow_everything_else_is_answered(stack: ExitStack, tmp_path: Path) -> None:
    """Half of the threads wait for it, and the caller answers what it can by itself, before any of them is done."""
    pair = Pair(stack, tmp_path, **PATIENT)
    pair.proxy.fault = SILENT
    half = THREADS // 2
    with in_background(lambda: drive(pair.caller, "/task/", clients=half, count=half)) as answers:
        try:
            until(lambda: len(pair.caller.seen()) == WARM + half, "calls that hang")
            own = drive(pair.caller, "/own/", clients=1, count=50)
            assert {answer.status for answer in own} == {200}
            assert not answers
        finally:
            pair.proxy.heal()
            pair.proxy.cut()
    assert {answer.at > own[-1].at for answer in answers} == {True}


def test_tooth_without_time_limit_and_circuit_everything_waits(stack: ExitStack, tmp_path: Path) -> None:
    """With a long time-out and no circuit all of the service's threads wait, so nothing else is answered before."""
    pair = Pair(stack, tmp_path, **PATIENT, BREAKER="closed")
    pair.proxy.fault = Fault(latency=2)
    begun = time.monotonic()
    with in_background(lambda: drive(pair.caller, "/task/", clients=THREADS, count=THREADS)):
        until(lambda: len(pair.caller.seen()) == WARM + THREADS, "calls that hang")
        [own] = drive(pair.caller, "/own/", clients=1, count=1)
    assert own.at >= begun + 2


@contextmanager
def silent(proxy: FaultProxy) -> Iterator[None]:
    """Whatever is sent is swallowed."""
    proxy.fault = SILENT
    yield
    proxy.heal()


@pytest.mark.parametrize("away", [silent, FaultProxy.down])
def test_a_dependency_that_is_away_is_not_asked(stack: ExitStack, tmp_path: Path, away: Any) -> None:
    """While the circuit is open every call is refused, and no connection is made."""
    pair = Pair(stack, tmp_path, **IMPATIENT, BREAKER_REST=3600)
    with away(pair.proxy):
        pair.open_circuit()
        accepted = pair.proxy.accepted
        assert set(pair.ask(100)) == {(503, "circuit_open")}
        assert pair.proxy.accepted == accepted


@pytest.mark.parametrize("away", [silent, FaultProxy.down])
def test_a_dependency_that_comes_back_is_found(stack: ExitStack, tmp_path: Path, away: Any) -> None:
    """However long it was away, its circuit closes after its return, and then no call fails."""
    pair = Pair(stack, tmp_path, **IMPATIENT, BREAKER_REST=1)
    with away(pair.proxy):
        pair.open_circuit()
        end = time.monotonic() + OUTAGE
        drive(pair.caller, "/task/", clients=2, until=lambda: time.monotonic() > end, pause=0.01)
    until(lambda: pair.ask(1) == [(200, "")], "the first answer")
    until(lambda: set(pair.ask(THREADS)) == {(200, "")}, "a closed circuit")
    assert set(pair.ask(200)) == {(200, "")}


def test_tooth_without_the_circuit_each_call_is_made(stack: ExitStack, tmp_path: Path) -> None:
    """A call to somebody who is silent takes its whole time, however many failed before it."""
    pair = Pair(stack, tmp_path, **{**IMPATIENT, "TIMEOUT": 1}, BREAKER="closed")
    pair.proxy.fault = SILENT
    accepted = pair.proxy.accepted
    answers = pair.ask(3 * THREADS)
    assert (503, "circuit_open") not in answers
    assert pair.proxy.accepted >= accepted + 2 * THREADS  # each that timed out has ended its connection
