import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_django import Settings

from bandstand.context import REGISTRY
from bandstand.health import Check
from bandstand.health.probe import Probe
from tests.clock import Clock


class Counted:
    """A check that counts how often it ran and raises what it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: BaseException | None = None

    def __call__(self) -> None:
        self.runs += 1
        if self.error:
            raise self.error


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def check() -> Counted:
    return Counted()


@pytest.fixture(autouse=True)
def _health(settings: Settings) -> None:
    settings.BANDSTAND = settings.BANDSTAND | {"HEALTH": {"TIMEOUT": 2.0, "CACHE": 1.0}}


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """An event that a check may wait for; it comes at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def probe(function: Callable[[], None], clock: Clock) -> Probe:
    return Probe(Check(name="thing", function=function), clock)


def ask(asked: Probe) -> bool:
    return asked.passes(asked.begin())


def test_what_returns_passes_and_what_raises_does_not(clock: Clock, check: Counted) -> None:
    """A check answers by returning or raising, even when it raises what is no Exception."""
    assert ask(probe(check, clock))
    for error in (ValueError("x"), SystemExit(1)):
        check.error = error
        assert not ask(probe(check, clock))


def test_an_answer_is_kept_for_the_cache_time(clock: Clock, check: Counted) -> None:
    """Within HEALTH.CACHE seconds the check does not run again, after them it does; failures are kept too."""
    asked = probe(check, clock)
    for now, runs in ((1000.0, 1), (1000.9, 1), (1001.1, 2), (1002.0, 2), (1002.2, 3)):
        clock.now = now
        check.error = ValueError() if runs == 2 else None
        assert ask(asked) is (runs != 2)
        assert check.runs == runs


def test_probes_at_the_same_time_run_the_check_once(clock: Clock, hang: threading.Event) -> None:
    """Sixteen probes that come while the check runs wait for the one run and get its answer."""
    runs = []

    def slow() -> None:
        runs.append(1)
        hang.wait(10)

    asked = probe(slow, clock)
    with ThreadPoolExecutor(16) as executor:
        outcomes = list(executor.map(lambda _: asked.begin(), range(16)))
        assert len(set(map(id, outcomes))) == 1
        answers = [executor.submit(asked.passes, outcome) for outcome in outcomes]
        hang.set()
        assert all(answer.result() for answer in answers)
    assert len(runs) == 1


def test_a_check_that_hangs_fails_in_time(clock: Clock, hang: threading.Event, settings: Settings) -> None:
    """A check that does not answer in HEALTH.TIMEOUT seconds fails."""
    settings.BANDSTAND = settings.BANDSTAND | {"HEALTH": {"TIMEOUT": 0.01}}
    assert not ask(probe(lambda: hang.wait(10) and None, clock))


def test_a_check_that_hangs_is_not_started_again(clock: Clock, hang: threading.Event) -> None:
    """While a run hangs, each probe fails at once, without waiting and without another thread."""
    began = threading.Event()
    runs = []

    def slow() -> None:
        runs.append(1)
        began.set()
        hang.wait(10)

    asked = probe(slow, clock)
    asked.begin()
    began.wait(10)
    clock.now += 3600
    threads = threading.active_count()
    for _ in range(10):
        assert not ask(asked)
    assert (len(runs), threading.active_count()) == (1, threads)
    hang.set()
    asked.begin().done.wait(10)
    clock.now += 3600
    assert ask(asked)


def test_threads_do_not_keep_the_process_alive(clock: Clock, hang: threading.Event) -> None:
    """A check that hangs does not hold up the end of the process."""
    probe(lambda: hang.wait(10) and None, clock).begin()
    [thread] = [thread for thread in threading.enumerate() if thread.name == "health-thing"]
    assert thread.daemon


def test_no_thread_left_is_a_failure(clock: Clock, check: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without threads answers unhealthy; it does not raise."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not ask(probe(check, clock))


def test_a_reason_is_told_once_in_each_outage(clock: Clock, check: Counted, caplog: pytest.LogCaptureFixture) -> None:
    """Becoming worse, worse in another way, and well again are told; staying so or going to and fro is not."""
    caplog.set_level(logging.INFO, logger="bandstand.health")
    asked = probe(check, clock)
    gone, odd = OSError("gone"), ValueError("odd")
    for error in (None, None, gone, gone, OSError("still gone"), odd, gone, odd, None, None, gone):
        check.error = error
        clock.now += 5
        ask(asked)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "health check thing fails: OSError: gone"),
        ("ERROR", "health check thing fails: ValueError: odd"),
        ("INFO", "health check thing passes again after 30.0 s"),
        ("ERROR", "health check thing fails: OSError: gone"),
    ]


def test_a_time_out_is_told_with_its_limit(
    clock: Clock, hang: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says how long was waited."""
    asked = probe(lambda: hang.wait(10) and None, clock)
    asked.begin()
    clock.now += 2
    assert not ask(asked)
    assert not ask(asked)
    assert [record.getMessage() for record in caplog.records] == ["health check thing fails: no answer in 2 s"]


def test_the_metric_follows(clock: Clock, check: Counted) -> None:
    """The gauge is 1 from the first good answer on and 0 while the check fails."""
    asked = probe(check, clock)
    seen = []
    for error in (None, ValueError(), None):
        check.error = error
        clock.now += 5
        ask(asked)
        seen.append(REGISTRY.get_sample_value("bandstand_health_check", {"check": "thing"}))
    assert seen == [1, 0, 1]
