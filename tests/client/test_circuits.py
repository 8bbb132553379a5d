"""Who is refused after whose failures, with a clock of its own."""

import pytest

from bandstand.client.circuits import Circuits
from bandstand.resilience import Circuit, Policy, Refused
from tests.clock import Clock

POLICY = Policy(timeout=1.0, breaker_calls=4, breaker_rest=5.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[tuple[Circuit, Circuit, float | None]]:
    return []


@pytest.fixture
def circuits(clock: Clock, told: list[tuple[Circuit, Circuit, float | None]]) -> Circuits:
    return Circuits(POLICY, clock=clock, on_change=lambda *change: told.append(change))


def call(circuits: Circuits, seconds: float, *, good: bool | None = False, late: bool = True) -> bool:
    """Make a call that ends so, and say whether it was let through."""
    admitted = circuits.admit(seconds)
    if isinstance(admitted, Refused):
        return False
    circuits.record(admitted, good, late=late)
    return True


def let_through(circuits: Circuits) -> list[float]:
    """Who is let through now."""
    return [seconds for seconds in (1.0, 0.5, 0.4, 0.2, 0.1, 0.001) if call(circuits, seconds, good=None, late=False)]


@pytest.mark.parametrize(
    ("seconds", "refused"),
    [(1.0, (1.0, 0.5, 0.4, 0.2, 0.1, 0.001)), (0.5, (1.0, 0.5, 0.4, 0.2, 0.1, 0.001)), (0.3, (0.4,)), (0.2, (0.2,))],
)
def test_a_time_out_is_held_against_a_service_by_those_with_as_little_time(
    circuits: Circuits, seconds: float, refused: tuple[float, ...]
) -> None:
    """Half of the usual time is enough to judge for all; with less it is for those whose time is about the same."""
    assert [call(circuits, seconds) for _ in range(5)] == [True] * 4 + [False]
    assert let_through(circuits) == [each for each in (1.0, 0.5, 0.4, 0.2, 0.1, 0.001) if each not in refused]


def test_other_failures_of_hasty_calls_count_for_all(circuits: Circuits) -> None:
    """That a service refuses has nothing to do with time."""
    assert [call(circuits, 0.3, late=False) for _ in range(4)] == [True] * 4
    assert let_through(circuits) == []


def test_what_succeeds_in_little_time_keeps_both_closed(circuits: Circuits) -> None:
    """Below the share of failures nobody is refused."""
    for _ in range(20):
        assert call(circuits, 0.3, good=True)
        assert call(circuits, 0.3, good=True)
        assert call(circuits, 0.3)
    assert circuits.state is Circuit.CLOSED


def test_a_probe_of_hasty_calls_closes_their_circuit(
    circuits: Circuits, clock: Clock, told: list[tuple[Circuit, Circuit, float | None]]
) -> None:
    """One at a time after the rest; the log is told which circuit it was."""
    for _ in range(4):
        call(circuits, 0.3)
    assert circuits.state is Circuit.OPEN
    clock.now += 5
    assert circuits.state is Circuit.CLOSED  # though nobody called: such calls may never come again
    probe = circuits.admit(0.3)
    assert not isinstance(probe, Refused)
    assert isinstance(circuits.admit(0.3), Refused)
    circuits.record(probe, True, late=False)
    assert circuits.state is Circuit.CLOSED
    assert [(after, seconds) for _, after, seconds in told] == [
        (Circuit.OPEN, 0.5), (Circuit.HALF_OPEN, 0.5), (Circuit.CLOSED, 0.5)
    ]  # fmt: skip


def test_a_hasty_call_that_is_refused_is_no_probe_for_the_others(circuits: Circuits, clock: Clock) -> None:
    """Both circuits are half open: whom the one refuses does not hold the place in the other."""
    for _ in range(4):
        call(circuits, 0.3)
    clock.now += 1
    for _ in range(4):
        call(circuits, 1.0)
    clock.now += 4
    assert not isinstance(circuits.usual.admit(), int)
    clock.now += 1
    hasty = circuits._for(0.3)
    assert isinstance(hasty.admit(), int)  # somebody probes there
    assert isinstance(circuits.admit(0.3), Refused)
    assert call(circuits, 1.0, good=True)
    assert circuits.usual.state is Circuit.CLOSED


@pytest.mark.parametrize(("mode", "passes"), [("open", False), ("closed", True)])
def test_what_is_forced_holds_for_all(circuits: Circuits, mode: str, passes: bool) -> None:
    """Those that are known and those that are made later."""
    for _ in range(4):
        call(circuits, 0.3)
    circuits.force(mode)  # type: ignore[arg-type]
    assert [call(circuits, seconds) for seconds in (1.0, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1)] == [passes] * 8


def test_however_little_time_there_are_few_circuits(circuits: Circuits) -> None:
    """What callers choose does not fill the memory."""
    for exponent in range(1, 1000):
        call(circuits, 2.0**-exponent)
    assert len(circuits._hasty) <= 12
