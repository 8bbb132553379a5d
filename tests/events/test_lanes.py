import asyncio
import threading
from collections.abc import Iterator

import pytest

from bandstand.events.lanes import Lanes
from tests.waiting import GUARD, until


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes(2, lambda: None)
    made.start()
    yield made
    made.close()


def test_a_key_s_jobs_run_in_order(lanes: Lanes) -> None:
    """Jobs of one lane run one after the other, in the order of their submission, while other lanes go on."""
    done: list[tuple[int, int]] = []
    running: dict[int, int] = {}

    def job(key: int, number: int) -> None:
        running[key] = running.get(key, 0) + 1
        assert running[key] == 1
        done.append((key, number))
        running[key] -= 1

    for number in range(200):
        for key in range(3):
            lanes.submit("group", str(key), lambda key=key, number=number: job(key, number))  # type: ignore[misc]
    assert lanes.drain(10)
    for key in range(3):
        assert [number for each, number in done if each == key] == list(range(200))


def test_a_blocked_key_blocks_no_other(lanes: Lanes) -> None:
    """While one lane's job takes its time, other lanes run on the free thread."""
    release, other = threading.Event(), threading.Event()
    lanes.submit("group", "slow", lambda: release.wait(10) and None)
    lanes.submit("group", "slow", lambda: None)
    lanes.submit("group", "quick", other.set)
    assert other.wait(5)
    release.set()
    assert lanes.drain(5)


def test_a_subscription_can_t_take_all_threads(lanes: Lanes) -> None:
    """With two subscriptions, one whose handlers hang leaves a thread for the other."""
    release, other = threading.Event(), threading.Event()
    lanes.submit("known", "warm", lambda: None)
    lanes.submit("hanging", "warm", lambda: None)
    assert lanes.drain(5)
    for number in range(5):
        lanes.submit("hanging", str(number), lambda: release.wait(10) and None)
    lanes.submit("known", "1", other.set)
    assert other.wait(5)
    release.set()
    assert lanes.drain(5)


def test_draining_has_an_end(lanes: Lanes) -> None:
    """drain() returns False when jobs are left after its time, True when none is."""
    release = threading.Event()
    lanes.submit("group", "key", lambda: release.wait(10) and None)
    assert not lanes.drain(0.01)
    release.set()
    assert lanes.drain(5)


def test_after_closing_nothing_begins() -> None:
    """Jobs that wait when the lanes close are not begun, and each thread leaves in good order."""
    left: list[str] = []
    begun, release = threading.Event(), threading.Event()
    ran: list[int] = []
    lanes = Lanes(1, lambda: left.append("left"))
    lanes.start()

    def first() -> None:
        begun.set()
        release.wait(10)

    lanes.submit("group", "a", first)
    lanes.submit("group", "b", lambda: ran.append(1))
    assert begun.wait(5)
    lanes.close()
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("bandstand-handler"):
            thread.join(5)
    assert (ran, left) == ([], ["left"])


def test_a_job_that_raises_ends_neither_thread_nor_lane(lanes: Lanes, caplog: pytest.LogCaptureFixture) -> None:
    """A job that raises is logged, and the lane goes on."""
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("boom")

    lanes.submit("group", "key", fail)
    lanes.submit("group", "key", done.set)
    assert done.wait(5)
    assert "must not" in caplog.text


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt(), asyncio.CancelledError()])
def test_no_job_ends_a_thread(lanes: Lanes, error: BaseException) -> None:
    """Whatever a job raises, all threads serve the next ones."""

    def fail() -> None:
        raise error

    for number in range(4):
        lanes.submit("group", str(number), fail)
    assert lanes.drain(GUARD)
    assert lanes.is_alive()
    both = threading.Barrier(2)
    for key in "ab":
        lanes.submit("group", key, lambda: both.wait(GUARD) and None)
    assert lanes.drain(GUARD), "both threads run"


def test_threads_that_have_ended_are_seen(lanes: Lanes) -> None:
    """``is_alive()`` is False then, so that the worker is not ready."""
    lanes.close()
    until(lambda: not lanes.is_alive(), "the threads end")
