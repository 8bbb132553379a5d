import random
import time
from collections import Counter
from threading import Thread

from bandstand.client.balancing import InFlight, choose
from bandstand.discovery import Instance


def made(*names: str) -> tuple[Instance, ...]:
    return tuple(Instance(id=name, url=f"http://{name}") for name in names)


def test_of_two_the_less_loaded_is_chosen() -> None:
    """An instance with fewer calls in flight is preferred, wherever it stands in the list."""
    load = {"http://a": 5, "http://b": 1}
    assert {choose(made("a", "b"), (), load.__getitem__).id for _ in range(50)} == {"b"}
    assert {choose(made("b", "a"), (), load.__getitem__).id for _ in range(50)} == {"b"}


def test_equal_load_is_shared() -> None:
    """Instances that are equally busy get about the same number of calls."""
    sample = random.Random(3).sample
    counts = Counter(choose(made("a", "b", "c"), (), lambda _: 0, sample).id for _ in range(3000))
    assert min(counts.values()) > 900


def test_the_busiest_of_many_gets_nothing() -> None:
    """Against any other one the most loaded loses, so it gets no call at all."""
    load = {"http://a": 9}
    chosen = {choose(made("a", "b", "c"), (), lambda url: load.get(url, 0)).id for _ in range(200)}
    assert chosen == {"b", "c"}


def test_another_instance_is_preferred_to_one_that_failed() -> None:
    """What was tried already is left out, even when it has nothing to do."""
    load = {"http://a": 0, "http://b": 99}
    assert choose(made("a", "b"), ("http://a",), load.__getitem__).id == "b"


def test_when_all_were_tried_all_are_eligible() -> None:
    """With one instance, or after a round of all, the next attempt goes to a known one."""
    assert choose(made("a"), ("http://a",), lambda _: 0).id == "a"
    assert choose(made("a", "b"), ("http://a", "http://b"), {"http://a": 1, "http://b": 0}.__getitem__).id == "b"


def test_calls_in_flight_are_counted_by_instance() -> None:
    """Each call counts from its beginning to its end."""
    load = InFlight()
    load.add("http://a")
    load.add("http://a")
    load.add("http://b")
    load.remove("http://a")
    assert (load.count("http://a"), load.count("http://b"), load.count("http://c")) == (1, 1, 0)


def test_an_idle_instance_leaves_no_trace() -> None:
    """Instances come and go with every deployment; their names must not pile up."""
    load = InFlight()
    load.add("http://a")
    load.remove("http://a")
    assert load._calls == {}


class Yielding(dict[str, int]):
    """A dictionary that lets other threads run in the worst moment: after a read, before the write."""

    def get(self, key: str, default: int = 0) -> int:  # type: ignore[override]
        value = super().get(key, default)
        time.sleep(0)
        return value


def test_no_count_is_lost_between_threads() -> None:
    """Counting from many threads ends where it began: a lost update would make an instance look busy for ever."""
    load = InFlight()
    load._calls = Yielding()

    def work() -> None:
        for _ in range(500):
            load.add("http://a")
            load.remove("http://a")

    threads = [Thread(target=work) for _ in range(4)]
    load.add("http://a")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load._calls == {"http://a": 1}
