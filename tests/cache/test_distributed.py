import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from bandstand.cache import DistributedCache, invalidate_tag
from bandstand.cache.leases import Keeper

from .conftest import Clock


class Counter:
    """A computation that counts its calls."""

    def __init__(self, *results: Any) -> None:
        self.calls = 0
        self.results = results

    def __call__(self) -> Any:
        self.calls += 1
        result = self.results[min(self.calls, len(self.results)) - 1] if self.results else self.calls
        if isinstance(result, Exception):
            raise result
        return result


def test_what_is_kept_is_found() -> None:
    """By key and prefix; what was deleted is not."""
    cache, other = DistributedCache("a"), DistributedCache("b")
    cache.set("k", {"x": 1})
    assert cache.get("k") == {"x": 1}
    assert other.get("k", "nothing") == "nothing"
    cache.delete("k")
    assert cache.get("k") is None


def test_none_is_a_value() -> None:
    """A cached None is told from a miss, and computed once."""
    cache, compute = DistributedCache("a"), Counter(None)
    cache.set("k", None)
    assert cache.get("k", "default") is None
    assert [cache.get_or_set("other", compute) for _ in range(3)] == [None, None, None]
    assert compute.calls == 1


def test_a_value_that_is_no_data_is_refused_also_in_memory() -> None:
    """What Redis would refuse fails in tests, too."""
    with pytest.raises(TypeError, match="only data can"):
        DistributedCache("a").set("k", object())


def test_a_process_that_can_start_no_thread_computes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is not prolonged, given back as always, and prolonged again as soon as there are threads."""
    keeper = Keeper(interval=0.001)
    monkeypatch.setattr("bandstand.cache.leases._keeper", keeper)
    with monkeypatch.context() as without_threads:

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        without_threads.setattr(threading.Thread, "start", refuse)
        cache, compute = DistributedCache("a"), Counter("computed")
        assert cache.get_or_set("k", compute) == "computed"
        assert cache.get("k") == "computed"
        assert keeper._held == {}
    seen = threading.Event()

    def computed_while_prolonged() -> bool:
        leases = next(iter(keeper._held.values()))
        monkeypatch.setattr(leases, "renew", lambda *_: seen.set())
        return seen.wait(60)

    assert cache.get_or_set("other", computed_while_prolonged) is True


def test_a_value_gets_old_a_little_early(clock: Clock) -> None:
    """At most a tenth of its time early, each at a moment of its own; then it is computed anew."""
    moments = []
    for chance in (0.0, 0.5, 1.0):
        cache, compute = DistributedCache(f"jitter-{chance}", clock=clock, chance=lambda c=chance: c), Counter()
        began = clock.now
        cache.get_or_set("k", compute, 1000)
        while cache.get_or_set("k", compute, 1000) == 1:
            clock.now += 1
        moments.append(clock.now - began)
    assert moments == [950, 925, 900]


def test_while_one_computes_the_others_get_the_value_that_holds(clock: Clock) -> None:
    """An old value is served to all but the first who asks; nobody waits."""
    cache = DistributedCache("a", clock=clock)
    cache.get_or_set("k", lambda: "old", 1000)
    clock.now += 960
    computing, go = threading.Event(), threading.Event()

    def slow() -> str:
        computing.set()
        assert go.wait(10)
        return "new"

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(cache.get_or_set, "k", slow, 1000)
        assert computing.wait(10)
        forbidden = Counter(AssertionError("a second computation"))
        assert [cache.get_or_set("k", forbidden, 1000) for _ in range(5)] == ["old"] * 5
        go.set()
        assert first.result() == "new"
    assert cache.get("k") == "new"


def test_at_a_cold_start_one_computes_and_the_others_wait() -> None:
    """Ten threads, one computation; each gets a value of its own."""
    cache, gate = DistributedCache("cold"), threading.Barrier(10)
    calls, go = [], threading.Event()

    def compute() -> list[int]:
        calls.append(1)
        assert go.wait(10)
        return [1]

    def ask(_: int) -> list[int]:
        gate.wait()
        if gate.n_waiting == 0:
            threading.Timer(0.05, go.set).start()
        return cache.get_or_set("k", compute)

    with ThreadPoolExecutor(10) as threads:
        values = list(threads.map(ask, range(10)))
    assert values == [[1]] * 10
    assert len({id(value) for value in values}) == 10
    assert len(calls) == 1


def test_a_computation_may_ask_for_its_own_value() -> None:
    """It does not wait for itself."""
    cache = DistributedCache("self")

    def compute(depth: int = 3) -> int:
        return depth if depth == 0 else cache.get_or_set("k", lambda: compute(depth - 1)) + 1

    assert compute() == 3


def test_an_error_is_raised_and_not_kept() -> None:
    """The next one who asks computes again."""
    cache, compute = DistributedCache("a"), Counter(ValueError("no"), "yes")
    with pytest.raises(ValueError, match="no"):
        cache.get_or_set("k", compute)
    assert cache.get_or_set("k", compute) == "yes"


def test_an_old_value_is_better_than_an_error(clock: Clock) -> None:
    """When the computation fails, what still may be served is served."""
    cache = DistributedCache("a", clock=clock)
    cache.get_or_set("k", lambda: "old", 1000, stale=5000)
    clock.now += 3000
    assert cache.get_or_set("k", Counter(ValueError("down")), 1000, stale=5000) == "old"


def test_a_tag_forgets_all_that_it_is_on() -> None:
    """In every prefix, and nothing else; a second time as well."""
    cache, other = DistributedCache("a"), DistributedCache("b")
    for _ in range(2):
        cache.set("1", "x", tags=["red", "blue"])
        cache.set("2", "x", tags=["blue"])
        other.set("1", "x", tags=["red"])
        cache.set("3", "x")
        invalidate_tag("red")
        assert [cache.get("1"), cache.get("2"), other.get("1"), cache.get("3")] == [None, "x", None, "x"]


def test_a_value_computed_from_old_data_is_not_served() -> None:
    """What is invalidated while it is computed is a miss at once."""
    cache = DistributedCache("race")

    def compute() -> str:
        read = "old"
        invalidate_tag("data")  # another process has written meanwhile
        return read

    assert cache.get_or_set("k", compute, tags=["data"]) == "old"
    assert cache.get_or_set("k", lambda: "new", tags=["data"]) == "new"


def test_a_lost_version_is_a_miss(cache: Any) -> None:
    """When the cache has evicted the version of a tag, nobody can know whether the value holds."""
    kept = DistributedCache("a")
    kept.set("k", "x", tags=["red"])
    cache.delete("tag:red")
    assert kept.get("k") is None
    assert kept.get_or_set("k", lambda: "new", tags=["red"]) == "new"
    assert kept.get("k") == "new"


@pytest.mark.django_db(transaction=True)
def test_inside_a_transaction_a_tag_is_invalidated_again_when_it_commits() -> None:
    """What others computed from the data before the commit does not outlive it."""
    cache = DistributedCache("tx")
    with transaction.atomic():
        invalidate_tag("data")
        assert cache.get_or_set("k", lambda: "before the commit", tags=["data"]) == "before the commit"
        cache.set("single", "before the commit")
        cache.delete("single")
        cache.set("single", "before the commit")
    assert cache.get("k") is None
    assert cache.get("single") is None


@pytest.mark.parametrize("entry", ["text", 5, None, (1, 2), {"value": 1}])
def test_what_is_no_entry_is_a_miss(cache: Any, entry: Any) -> None:
    """Something else under the same key is not taken for a value."""
    cache.set("a:k", entry)
    assert DistributedCache("a").get_or_set("k", lambda: "computed") == "computed"


class Squares:
    """A computation for many that remembers for which."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    def __call__(self, keys: list[str]) -> dict[str, int]:
        self.asked.append(keys)
        if self.error:
            raise self.error
        return {key: int(key) ** 2 for key in keys}


def test_many_are_computed_at_once(clock: Clock) -> None:
    """One computation for all that are missing or old, in the order of the keys, each of them once."""
    cache, compute = DistributedCache("a", clock=clock), Squares()
    assert cache.get_or_set_many(["3", "1", "3"], compute, 1000) == {"3": 9, "1": 1}
    assert cache.get_or_set_many(["1", "2", "3"], compute, 1000) == {"1": 1, "2": 4, "3": 9}
    assert cache.get_or_set_many([], compute) == {}
    assert compute.asked == [["3", "1"], ["2"]]
    clock.now += 1000
    cache.get_or_set_many(["1", "2"], compute, 1000)
    assert compute.asked[2:] == [["1", "2"]]
    assert cache.get_or_set("3", Counter("never"), 1000) == "never"  # it is old


def test_many_with_tags() -> None:
    """A tag that is invalidated, before or during the computation, ends those that are kept under it alone."""
    cache, compute = DistributedCache("a"), Squares()

    def load() -> None:
        assert cache.get_or_set_many(["1", "2"], compute, tags=lambda key: ("all", f"one-{key}")) == {"1": 1, "2": 4}

    load()
    load()
    invalidate_tag("one-2")
    load()
    invalidate_tag("all")
    load()
    assert compute.asked == [["1", "2"], ["2"], ["1", "2"]]

    def overtaken(keys: list[str]) -> dict[str, int]:
        invalidate_tag("one-2")
        return compute(keys)

    invalidate_tag("all")
    cache.get_or_set_many(["1", "2"], overtaken, tags=lambda key: ("all", f"one-{key}"))
    load()
    assert compute.asked[-1] == ["2"]


def test_many_that_can_not_be_computed(clock: Clock) -> None:
    """Old ones are served while stale allows it, if all that is wanted can be; what was never known is an error."""
    cache, compute = DistributedCache("a", clock=clock), Squares()
    cache.get_or_set_many(["1", "2"], compute, 1000, stale=1000)
    clock.now += 1001
    compute.error = OSError("away")
    assert cache.get_or_set_many(["1", "2"], compute, 1000, stale=1000) == {"1": 1, "2": 4}
    with pytest.raises(OSError, match="away"):
        cache.get_or_set_many(["1", "3"], compute, 1000, stale=1000)
    compute.error = None
    with pytest.raises(KeyError):
        cache.get_or_set_many(["3"], lambda _keys: {})
    assert cache.get_or_set_many(["1", "3"], compute, 1000) == {"1": 1, "3": 9}
