from typing import Any

import pytest

from bandstand.resilience import Circuit, CircuitBreaker, Refused
from tests.clock import Clock


def made(clock: Clock, **more: Any) -> CircuitBreaker:
    return CircuitBreaker(**{"ratio": 0.5, "calls": 20, "window": 10, "rest": 5, "clock": clock, **more})


def call(breaker: CircuitBreaker, good: bool | None = False) -> bool:
    """Make a call if the breaker lets it through, and say whether it did."""
    admitted = breaker.admit()
    if isinstance(admitted, Refused):
        return False
    breaker.record(admitted, good)
    return True


def opened(clock: Clock, **more: Any) -> CircuitBreaker:
    breaker = made(clock, **more)
    for _ in range(20):
        assert call(breaker)
    assert breaker.state is Circuit.OPEN
    return breaker


def test_it_opens_at_half_of_twenty(clock: Clock) -> None:
    """Ten good and ten bad calls open the circuit, and not one bad call less."""
    breaker = made(clock)
    for good in [True] * 10 + [False] * 9:
        assert call(breaker, good)
    assert breaker.state is Circuit.CLOSED
    assert call(breaker)
    assert breaker.state is Circuit.OPEN
    assert not call(breaker)


def test_few_calls_prove_nothing(clock: Clock) -> None:
    """Nineteen failures in a row leave the circuit closed: a service that is seldom called is not judged by chance."""
    breaker = made(clock)
    for _ in range(19):
        call(breaker)
    assert breaker.state is Circuit.CLOSED


def test_less_than_the_ratio_is_borne(clock: Clock) -> None:
    """A service that fails four times in ten stays open to calls for as long as one likes."""
    breaker = made(clock)
    for number in range(1000):
        clock.now += 0.01
        assert call(breaker, good=number % 5 >= 2)


def test_what_is_long_past_does_not_count(clock: Clock) -> None:
    """Failures that are further back than the window are forgotten, so that a bad minute does not shut a good hour."""
    breaker = made(clock)
    for _ in range(19):
        call(breaker)
    clock.now += 10.1
    for _ in range(19):
        call(breaker)
    assert breaker.state is Circuit.CLOSED


def test_failures_spread_over_the_window_count(clock: Clock) -> None:
    """Twenty failures within nine seconds open the circuit, however they are spread."""
    breaker = made(clock)
    for _ in range(20):
        assert call(breaker)
        clock.now += 0.45
    assert breaker.state is Circuit.OPEN


def test_what_says_nothing_does_not_count(clock: Clock) -> None:
    """A call that was cancelled is neither good nor bad."""
    breaker = made(clock)
    for _ in range(100):
        assert call(breaker, None)
    assert breaker.state is Circuit.CLOSED


def test_open_it_says_when_to_come_again(clock: Clock) -> None:
    """A refusal tells how long the circuit stays open yet."""
    breaker = opened(clock)
    clock.now += 2
    assert breaker.admit() == Refused(retry_after=3)


def test_open_it_lets_nothing_through_before_its_time(clock: Clock) -> None:
    """For five seconds not one call gets through, and then one."""
    breaker = opened(clock)
    for _ in range(39):
        clock.now += 0.125
        assert not call(breaker)
    clock.now += 0.125
    assert call(breaker)


def test_one_probe_at_a_time(clock: Clock) -> None:
    """While a probe is under way, all other calls are refused."""
    breaker = opened(clock)
    clock.now += 5
    probe = breaker.admit()
    assert isinstance(probe, int)
    assert breaker.state is Circuit.HALF_OPEN
    assert isinstance(breaker.admit(), Refused)
    breaker.record(probe, good=True)
    assert breaker.state is Circuit.CLOSED
    assert call(breaker, good=True)


def test_a_failed_probe_opens_for_as_long_again(clock: Clock) -> None:
    """A target that is still down sees one call in five seconds."""
    breaker = opened(clock)
    seen = 0
    for _ in range(3000):
        clock.now += 0.01
        seen += call(breaker)
    assert seen in {5, 6}


def test_recovery_closes_within_the_configured_time(clock: Clock) -> None:
    """Once the target is well, the first call after the rest closes the circuit, and no old failure opens it again."""
    breaker = opened(clock)
    clock.now += 5
    assert call(breaker, good=True)
    for _ in range(19):
        assert call(breaker, good=False)
    assert breaker.state is Circuit.CLOSED


def test_a_probe_that_says_nothing_makes_room_for_the_next(clock: Clock) -> None:
    """When the probe's caller gives up, the next call is the probe at once."""
    breaker = opened(clock)
    clock.now += 5
    assert call(breaker, None)
    assert call(breaker, good=True)
    assert breaker.state is Circuit.CLOSED


def test_a_probe_that_never_ends_does_not_keep_the_circuit_open(clock: Clock) -> None:
    """A thread that died with the probe costs one more rest; what it might still say is not heard."""
    breaker = opened(clock)
    clock.now += 5
    lost = breaker.admit()
    assert isinstance(lost, int)
    clock.now += 5
    probe = breaker.admit()
    assert isinstance(probe, int)
    breaker.record(lost, good=False)
    assert breaker.state is Circuit.HALF_OPEN
    breaker.record(probe, good=True)
    assert breaker.state is Circuit.CLOSED


def test_what_began_before_tells_nothing_of_now(clock: Clock) -> None:
    """Slow calls from before the circuit opened, which end while it is probed, neither open nor close it."""
    breaker = made(clock)
    slow = breaker.admit()
    assert isinstance(slow, int)
    for _ in range(20):
        call(breaker)
    clock.now += 5
    assert isinstance(breaker.admit(), int)
    breaker.record(slow, good=True)
    breaker.record(slow, good=False)
    assert breaker.state is Circuit.HALF_OPEN


def test_forced_open_nothing_gets_through(clock: Clock) -> None:
    """An operator who takes a service away from its callers is obeyed, until told otherwise."""
    breaker = made(clock)
    breaker.force("open")
    clock.now += 1000
    assert not call(breaker, good=True)
    assert breaker.state is Circuit.OPEN
    breaker.force("auto")
    assert call(breaker, good=True)


@pytest.mark.parametrize(("mode", "seen"), [("auto", 20), ("closed", 500)])
def test_forced_closed_everything_gets_through(clock: Clock, mode: Any, seen: int) -> None:
    """Without the protection a dead target sees every call: the tooth of all that is tested here."""
    breaker = made(clock, mode=mode)
    assert sum(call(breaker) for _ in range(500)) == seen


def test_changes_are_told(clock: Clock) -> None:
    """Each change of state is told once, with what was before."""
    seen: list[tuple[str, str]] = []
    breaker = opened(clock, on_change=lambda before, after: seen.append((before.name, after.name)))
    clock.now += 5
    call(breaker)
    clock.now += 5
    call(breaker, good=True)
    breaker.force("open")
    breaker.force("open")
    assert seen == [
        ("CLOSED", "OPEN"),
        ("OPEN", "HALF_OPEN"),
        ("HALF_OPEN", "OPEN"),
        ("OPEN", "HALF_OPEN"),
        ("HALF_OPEN", "CLOSED"),
        ("CLOSED", "OPEN"),
    ]
