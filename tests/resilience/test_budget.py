from threading import Thread

import pytest

from bandstand.resilience import RetryBudget
from tests.clock import Clock

from .conftest import busy_switching


def spend(budget: RetryBudget) -> int:
    """Take out all that there is."""
    taken = 0
    while budget.withdraw():
        taken += 1
    return taken


def test_a_full_bucket_is_what_the_floor_gives_in_ten_seconds(clock: Clock) -> None:
    """A process that has just started may retry, but not without end."""
    assert spend(RetryBudget(share=0.2, floor=3, clock=clock)) == 30


def test_each_second_gives_the_floor(clock: Clock) -> None:
    """Whoever calls seldom may still retry a few times a second."""
    budget = RetryBudget(share=0.2, floor=3, clock=clock)
    spend(budget)
    clock.now += 2
    assert spend(budget) == 6


def test_quiet_hours_are_not_saved_up(clock: Clock) -> None:
    """However long nothing happened, the bucket holds no more than a full one."""
    budget = RetryBudget(share=0.2, floor=3, clock=clock)
    clock.now += 3600
    for _ in range(10_000):
        budget.deposit()
    assert spend(budget) == 30


def test_a_share_of_the_calls_may_be_retried(clock: Clock) -> None:
    """Of a hundred calls that all fail twenty may be tried again, and one more when five others have come."""
    budget = RetryBudget(share=0.2, floor=0, clock=clock)
    assert spend(budget) == 0
    taken = 0
    for _ in range(100):
        budget.deposit()
        taken += budget.withdraw()
    assert taken in {19, 20}  # a fifth is no binary fraction


@pytest.mark.parametrize(("share", "least", "most"), [(0.2, 1.0, 1.3), (1.0, 1.9, 2.1)])
def test_a_target_that_fails_always_sees_little_more_than_is_offered(
    clock: Clock, share: float, least: float, most: float
) -> None:
    """With two retries for each call a failing target would see three times the load; the budget holds it at 1.3.

    The second case is the tooth: the same storm with a budget of one retry for each call.
    """
    budget = RetryBudget(share=share, floor=3, clock=clock)
    offered, seen = 0, 0
    for _ in range(200 * 20):  # 200 a second for 20 seconds
        clock.now += 1 / 200
        offered += 1
        seen += 1
        budget.deposit()
        seen += sum(budget.withdraw() for _ in range(2))
    assert least <= seen / offered <= most


def test_an_exhausted_budget_says_so(clock: Clock) -> None:
    """Whether there is anything left can be asked without taking it."""
    budget = RetryBudget(share=0.2, floor=1, clock=clock)
    assert not budget.exhausted
    spend(budget)
    assert budget.exhausted
    clock.now += 1
    assert not budget.exhausted
    assert spend(budget) == 1


def test_threads_share_one_budget(clock: Clock) -> None:
    """However many threads retry at once, no token is spent twice."""
    budget = RetryBudget(share=0.2, floor=100, clock=clock)
    taken: list[int] = []
    threads = [Thread(target=lambda: taken.append(spend(budget))) for _ in range(4)]
    with busy_switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(taken) == 1000
