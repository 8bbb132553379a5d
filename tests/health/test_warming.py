import json
import logging
import threading

import pytest
from django.test import Client
from django.urls import include, path
from pytest_django import Settings

from bandstand.health import before_ready, register
from bandstand.health.warming import WarmUp, is_warm

urlpatterns = [path("", include("bandstand.health.urls"))]


@pytest.fixture(autouse=True)
def _service(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.BANDSTAND = settings.BANDSTAND | {"HEALTH": {"CACHE": 0.0, "TIMEOUT": 0.01}}


def ready() -> tuple[int, str]:
    response = Client().get("/health/ready/")
    return response.status_code, json.loads(response.content)["status"]


def test_nobody_is_ready_before_it_is_warm() -> None:
    """Until the last step is over readiness is 503; no probe begins a step again."""
    going_on, begun = threading.Event(), []

    def slow() -> None:
        begun.append(1)
        going_on.wait(10)

    before_ready("drivers", slow)
    assert [ready(), ready()] == [(503, "warming up")] * 2
    going_on.set()
    assert is_warm(10)
    assert ready() == (200, "ready")
    assert begun == [1]


def test_a_process_whose_needs_fail_stays_cold() -> None:
    """Warming up while the database is away would warm up nothing, and is not done again."""
    steps: list[str] = []

    def fails() -> None:
        raise OSError

    before_ready("drivers", lambda: steps.append("drivers"))
    register("database", fails)
    assert ready() == (503, "not ready")
    assert steps == []


def test_a_step_that_fails_is_told_of_and_keeps_nobody_from_being_ready(caplog: pytest.LogCaptureFixture) -> None:
    """It saves time and is no need; the steps after it are gone through, in their order."""
    steps: list[str] = []

    def fails() -> None:
        raise ConnectionError("nobody listens")

    warm_up = WarmUp()
    warm_up.add("cache", fails)
    warm_up.add("client", lambda: steps.append("client"))
    warm_up.add("keys", lambda: steps.append("keys"))
    with caplog.at_level(logging.INFO, "bandstand.health"):
        assert warm_up.is_over(10)
    assert steps == ["client", "keys"]
    assert "cache was left to the first request: nobody listens" in caplog.text
    assert warm_up.is_over(0)
    assert steps == ["client", "keys"]


def test_a_machine_without_threads_goes_on_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready and slow at first is better than never ready."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert WarmUp().is_over(0)
