from collections.abc import Callable
from typing import Any

import pytest

from bandstand.resilience import Outliers
from tests.clock import Clock

AB = ("a", "b")
New = Callable[..., Outliers]


@pytest.fixture
def new(clock: Clock) -> New:
    def new(**more: Any) -> Outliers:
        return Outliers(**{"failures": 5, "rest": 5, "cap": 60, "share": 0.5, "clock": clock, **more})

    return new


def fail(outliers: Outliers, name: str, times: int = 5, known: tuple[str, ...] = AB) -> None:
    for _ in range(times):
        outliers.failed(name, known)


def test_five_failures_in_a_row_eject(new: New) -> None:
    """The fifth failure in a row leaves an instance out, and not the fourth."""
    outliers = new()
    fail(outliers, "a", 4)
    assert not outliers.ejected("a")
    fail(outliers, "a", 1)
    assert outliers.ejected("a")
    assert not outliers.ejected("b")
    assert outliers.count() == 1


def test_a_success_on_probation_ends_it(new: New, clock: Clock) -> None:
    """One that did well when it was in again may fail as often as any, but is then out for twice as long."""
    outliers = new()
    fail(outliers, "a")
    clock.now += 5
    outliers.succeeded("a")
    fail(outliers, "a", 4)
    assert not outliers.ejected("a")
    fail(outliers, "a", 1)
    clock.now += 9.9
    assert outliers.ejected("a")


def test_a_success_in_between_begins_anew(new: New) -> None:
    """An instance that fails now and then is borne: the breaker and the caller's retries see to that."""
    outliers = new()
    for _ in range(10):
        fail(outliers, "a", 4)
        outliers.succeeded("a")
    assert not outliers.ejected("a")


def test_after_its_time_it_is_in_again(new: New, clock: Clock) -> None:
    """An ejection ends by itself, so an instance that is well again is used again."""
    outliers = new()
    fail(outliers, "a")
    clock.now += 4.9
    assert outliers.ejected("a")
    clock.now += 0.2
    assert not outliers.ejected("a")
    assert outliers.count() == 0


def test_each_time_it_is_out_for_twice_as_long(new: New, clock: Clock) -> None:
    """An instance that is still down costs one failure for each ejection, and these grow up to the cap."""
    seen: list[tuple[str, float]] = []
    outliers = new(on_eject=lambda name, seconds: seen.append((name, seconds)))
    fail(outliers, "a")
    for _ in range(5):
        clock.now += seen[-1][1] + 0.1
        outliers.failed("a", AB)
    assert seen == [("a", seconds) for seconds in (5, 10, 20, 40, 60, 60)]


def test_one_that_stays_well_begins_with_a_clean_sheet(new: New, clock: Clock) -> None:
    """An instance that was well for as long as it was out last is treated like one that never failed."""
    seen: list[float] = []
    outliers = new(on_eject=lambda name, seconds: seen.append(seconds))
    fail(outliers, "a")
    clock.now += 5
    outliers.succeeded("a")  # well, but only just
    fail(outliers, "a")
    clock.now += 10
    outliers.succeeded("a")
    clock.now += 10
    outliers.succeeded("a")
    fail(outliers, "a")
    assert seen == [5, 10, 5]


def test_the_last_instance_is_never_ejected(new: New) -> None:
    """A service with one instance goes on being asked by those whom the breaker lets through."""
    outliers = new(share=1.0)
    fail(outliers, "a", 100, known=("a",))
    assert not outliers.ejected("a")
    fail(outliers, "a", known=AB)
    fail(outliers, "b", 100, known=AB)
    assert (outliers.ejected("a"), outliers.ejected("b")) == (True, False)


@pytest.mark.parametrize(("share", "out"), [(0.5, 5), (0.2, 2), (0.0, 0), (1.0, 9)])
def test_no_more_than_a_share_are_ejected(new: New, share: float, out: int) -> None:
    """When all instances fail, it is not the instances: most stay in, and with a share of 0 (the tooth) all."""
    outliers = new(share=share)
    names = tuple("abcdefghij")
    for name in names:
        fail(outliers, name, 20, known=names)
    assert outliers.count() == out


def test_what_left_the_registry_makes_no_difference(new: New) -> None:
    """An ejected instance that was replaced does not use up the share of those that are there."""
    outliers = new()
    fail(outliers, "a", known=AB)
    fail(outliers, "b", known=("b", "c"))
    assert outliers.ejected("b")
    assert not outliers.ejected("a")
