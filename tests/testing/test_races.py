"""Threads that begin together."""

import threading

import pytest

from bandstand.testing.races import run_at_once


def test_all_begin_before_one_ends() -> None:
    """No call begins and ends before the others have begun."""
    running = threading.Barrier(8, timeout=10)
    assert run_at_once(8, lambda _: running.wait() >= 0) == [True] * 8


def test_results_come_in_order() -> None:
    """Each result stands where its number says."""
    assert run_at_once(5, lambda number: number * 10) == [0, 10, 20, 30, 40]


def test_what_a_thread_raises_is_raised() -> None:
    """An error on a thread fails the test that started it, and an assertion does so too."""

    def fail(number: int) -> None:
        assert number != 2, "the third"

    with pytest.raises(AssertionError, match="the third"):
        run_at_once(3, fail)
