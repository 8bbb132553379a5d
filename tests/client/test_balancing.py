import random
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from bandstand.client.balancing import Balancer
from bandstand.discovery import Instance
from bandstand.resilience import Outliers
from tests.clock import Clock
from tests.resilience.conftest import busy_switching


def made(*names: str) -> tuple[Instance, ...]:
    return tuple(Instance(id=name, url=f"http://{name}") for name in names)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new(clock: Clock) -> Callable[..., Balancer]:
    def new(**more: Any) -> Balancer:
        limits = {"failures": 5, "rest": 5, "cap": 60, "share": 0.5, **more}
        return Balancer(Outliers(clock=clock, **limits), clock=clock, chance=random.Random(3).random)

    return new


ABC = made("a", "b", "c")
AB = ABC[:2]


def busy(balancer: Balancer, name: str, calls: int = 1) -> None:
    for _ in range(calls):
        balancer.begin(f"http://{name}", ABC)


def ask(balancer: Balancer, name: str, good: bool | None = True, seconds: float | None = 0.01) -> None:
    """Make one attempt at the instance."""
    balancer.end(balancer.begin(f"http://{name}", ABC), ABC, good=good, seconds=seconds)


def chosen(
    balancer: Balancer, known: tuple[Instance, ...], tried: tuple[str, ...] = (), times: int = 300
) -> Counter[str]:
    return Counter(balancer.choose(known, tried).id for _ in range(times))


def test_of_two_the_less_busy_is_chosen(new: Callable[..., Balancer]) -> None:
    """An instance with fewer calls in flight is preferred, wherever it stands in the list."""
    balancer = new()
    ask(balancer, "a")
    ask(balancer, "b")
    busy(balancer, "a", 2)
    assert set(chosen(balancer, AB)) == set(chosen(balancer, AB[::-1])) == {"b"}


def test_of_two_the_quicker_is_chosen(new: Callable[..., Balancer]) -> None:
    """An instance that takes ten times as long gets a call when the other has ten in flight, and not before."""
    balancer = new()
    ask(balancer, "a", seconds=0.1)
    ask(balancer, "b", seconds=0.01)
    busy(balancer, "b", 8)
    assert set(chosen(balancer, AB)) == {"b"}
    busy(balancer, "b", 3)
    assert set(chosen(balancer, AB)) == {"a"}


def test_a_slow_instance_is_tried_again_by_and_by(new: Callable[..., Balancer], clock: Clock) -> None:
    """One slow answer does not shut an instance out for ever."""
    balancer = new()
    ask(balancer, "a", seconds=1)
    times = 0
    while times < 60 and "a" not in chosen(balancer, AB, times=5):
        ask(balancer, "b", seconds=0.01)
        clock.now += 1
        times += 1
    assert 5 < times < 60


def test_equal_load_is_shared(new: Callable[..., Balancer]) -> None:
    """Instances that are equally busy get about the same number of calls."""
    assert min(chosen(new(), ABC, times=3000).values()) > 900


def test_a_new_instance_is_tried_but_not_by_all_at_once(new: Callable[..., Balancer]) -> None:
    """What is not known yet is asked once, and again only when it has answered."""
    balancer = new()
    ask(balancer, "a")
    assert set(chosen(balancer, AB)) == {"b"}
    busy(balancer, "b")
    assert set(chosen(balancer, AB)) == {"a"}


def test_the_busiest_of_many_gets_nothing(new: Callable[..., Balancer]) -> None:
    """Against any other one the most loaded loses, so it gets no call at all."""
    balancer = new()
    busy(balancer, "a", 9)
    assert set(chosen(balancer, ABC)) == {"b", "c"}


def test_another_instance_is_preferred_to_one_that_was_tried(new: Callable[..., Balancer]) -> None:
    """What was tried already is left out, even when it has nothing to do."""
    balancer = new()
    busy(balancer, "b", 99)
    assert set(chosen(balancer, AB, ("http://a",))) == {"b"}


def test_when_all_were_tried_all_are_eligible(new: Callable[..., Balancer]) -> None:
    """With one instance, or after a round of all, the next attempt goes to a known one."""
    assert set(chosen(new(), made("a"), ("http://a",))) == {"a"}
    assert set(chosen(new(), AB, ("http://a", "http://b"))) == {"a", "b"}


@pytest.mark.parametrize(("failures", "left"), [(5, {"b"}), (1_000_000, {"a", "b"})])
def test_an_instance_that_fails_is_left_out(new: Callable[..., Balancer], failures: int, left: set[str]) -> None:
    """After five failures in a row nothing goes there; without the protection (the tooth) half of the calls do."""
    balancer = new(failures=failures)
    for _ in range(5):
        ask(balancer, "a", good=False, seconds=None)
        ask(balancer, "b", seconds=0)
    assert set(chosen(balancer, AB)) == left


def test_rather_one_that_was_left_out_than_one_that_failed_just_now(new: Callable[..., Balancer]) -> None:
    """The retry of a call goes to the ejected instance when it is the only one that the call has not tried."""
    balancer = new()
    for _ in range(5):
        ask(balancer, "a", good=False)
    assert set(chosen(balancer, AB, ("http://b",))) == {"a"}


def test_calls_in_flight_are_counted_by_instance(new: Callable[..., Balancer]) -> None:
    """Each attempt counts from its beginning to its end."""
    balancer = new()
    load = balancer.begin("http://a", ABC)
    busy(balancer, "a")
    busy(balancer, "b")
    balancer.end(load, ABC, good=None, seconds=None)
    assert [balancer.in_flight(f"http://{name}") for name in "abc"] == [1, 1, 0]


def test_what_is_gone_leaves_no_trace(new: Callable[..., Balancer]) -> None:
    """Instances come and go with every deployment; what was known of them must not pile up."""
    balancer = new()
    for number in range(100):
        (instance,) = made(f"host-{number}")
        load = balancer.begin(instance.url, (instance,))
        balancer.end(load, (instance,), good=False, seconds=1)
    assert len(balancer._loads) == 1
    assert len(balancer.outliers._records) == 1


def test_no_count_is_lost_between_threads(new: Callable[..., Balancer]) -> None:
    """Counting from many threads ends where it began: a lost update would make an instance look busy for ever."""
    balancer = new()

    def work() -> None:
        for _ in range(2000):
            ask(balancer, "a", good=None, seconds=None)

    threads = [Thread(target=work) for _ in range(4)]
    busy(balancer, "a")
    with busy_switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert balancer.in_flight("http://a") == 1
