"""Periodic functions are called at their interval, whether or not the others fail."""

import logging

import pytest
from django.db import OperationalError

from bandstand.conf.settings import EventsSettings
from bandstand.context import REGISTRY
from bandstand.events.housekeeping import Housekeeping
from bandstand.events.outbox import open_outbox
from bandstand.events.periodic import JOBS, PeriodicJob, Schedule, periodic
from bandstand.exceptions import ConfigurationError
from tests.clock import Clock


def test_each_job_comes_as_often_as_it_says() -> None:
    """The first call is at once, and each further one after the interval."""
    clock, calls = Clock(), []
    schedule = Schedule(
        [PeriodicJob("a", 10, lambda: calls.append("a")), PeriodicJob("b", 30, lambda: calls.append("b"))], clock
    )
    for _ in range(7):  # after 0, 5, 10 … 30 seconds
        schedule.run_due()
        clock.now += 5
    assert calls == ["a", "b", "a", "a", "a", "b"]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), GeneratorExit()])
def test_a_job_that_fails_costs_no_other_its_turn(caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """It is logged and counted, and called again when it is due; ``sys.exit()`` does not end the thread either."""
    clock, calls = Clock(), []
    labels = {"job": "fails", "outcome": "failed"}
    before = REGISTRY.get_sample_value("bandstand_periodic_runs_total", labels) or 0

    def fail() -> None:
        calls.append("fails")
        raise error

    schedule = Schedule(
        [PeriodicJob("fails", 10, fail), PeriodicJob("works", 10, lambda: calls.append("works"))], clock
    )
    with caplog.at_level(logging.ERROR):
        schedule.run_due()
        clock.now += 11
        schedule.run_due()
    assert calls == ["fails", "works"] * 2
    assert "fails failed; it is called again in 10 s" in caplog.text
    assert REGISTRY.get_sample_value("bandstand_periodic_runs_total", labels) == before + 2


def test_a_function_is_registered_under_its_name() -> None:
    """The function itself stays what it is."""
    known = len(JOBS)
    try:

        @periodic(seconds=60)
        def work() -> str:
            return "done"

        assert work() == "done"
        [job] = JOBS[known:]
        assert (job.name.rpartition(".")[2], job.seconds, job.run) == ("work", 60, work)
    finally:
        del JOBS[known:]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_an_interval_must_be_above_zero(seconds: float) -> None:
    """The error says what to write."""
    with pytest.raises(ConfigurationError, match="write a number above 0"):
        periodic(seconds=seconds)


@pytest.mark.django_db
def test_the_worker_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its housekeeping calls them in each round."""
    calls: list[str] = []
    monkeypatch.setattr("bandstand.events.housekeeping.JOBS", [PeriodicJob("a", 10, lambda: calls.append("a"))])
    monkeypatch.setattr("bandstand.events.housekeeping.connections.close_all", lambda: None)
    keeper = Housekeeping(open_outbox("default"), EventsSettings())
    keeper.work()
    assert calls == ["a"]


@pytest.mark.django_db
def test_the_worker_calls_them_while_it_can_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that can't be counted keeps no job of the service from its turn."""
    calls: list[str] = []
    monkeypatch.setattr("bandstand.events.housekeeping.JOBS", [PeriodicJob("a", 10, lambda: calls.append("a"))])
    monkeypatch.setattr("bandstand.events.housekeeping.connections.close_all", lambda: None)
    keeper = Housekeeping(open_outbox("default"), EventsSettings())

    def fail() -> None:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(keeper, "measure", fail)
    keeper.work()
    assert calls == ["a"]
