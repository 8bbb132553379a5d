import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import include, path
from pytest_django import Settings

from bandstand.health import OutOfDate, register, report, start_draining, stay_ready_while, unregister

urlpatterns = [path("", include("bandstand.health.urls"))]

SECRET = "could not connect to postgresql://shop:hunter2@db.internal:5432"


@pytest.fixture(autouse=True)
def _service(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.BANDSTAND = settings.BANDSTAND | {"VERSION": "3.1.4", "HEALTH": {"CACHE": 0.0}}


def passes() -> None:
    """Return: all is well."""


def fails() -> None:
    raise OSError(SECRET)


def ask(url: str) -> tuple[int, dict[str, Any]]:
    response = Client().get(url)
    return response.status_code, json.loads(response.content)


@pytest.mark.parametrize(
    ("needed", "optional", "status", "code"),
    [
        (passes, passes, "healthy", 200),
        (passes, fails, "degraded", 200),
        (fails, passes, "unhealthy", 503),
        (fails, fails, "unhealthy", 503),
    ],
)
def test_health_says_all(needed: Callable[[], None], optional: Callable[[], None], status: str, code: int) -> None:
    """Status, service, version, time and each check by name; only a need that fails makes it 503."""
    register("database", needed)
    register("mail", optional, ready=False)
    answered, body = ask("/health/")
    assert answered == code
    timestamp = datetime.fromisoformat(body.pop("timestamp"))
    assert abs(datetime.now(UTC) - timestamp) < timedelta(seconds=10)
    word = {passes: "ok", fails: "failing"}
    checks = {"database": word[needed], "mail": word[optional]}
    assert body == {"status": status, "service": "test-service", "version": "3.1.4", "checks": checks}


def test_health_tells_how_old_is_what_is_known() -> None:
    """Where work goes on with what was known before, its age is told, and of nothing else."""

    def old() -> None:
        raise OutOfDate(SECRET, age=61.28)

    register("database", passes)
    register("mail", fails, ready=False)
    register("list", old, ready=False)
    _, body = ask("/health/")
    assert (body["status"], body["checks"]["list"], body["ages"]) == ("degraded", "failing", {"list": 61.3})
    register("list", passes, ready=False)
    assert "ages" not in ask("/health/")[1]


def test_ready_asks_only_for_needs() -> None:
    """What the service can do without for a while is neither asked nor shown."""
    register("mail", fails, ready=False)
    register("database", passes)
    assert ask("/health/ready/") == (200, {"status": "ready", "checks": {"database": "ok"}})
    register("database", fails)
    assert ask("/health/ready/") == (503, {"status": "not ready", "checks": {"database": "failing"}})


def test_live_asks_nothing() -> None:
    """A restart mends no database: the process answers, whatever its needs do, and while it leaves."""
    register("database", fails)
    assert ask("/health/live/") == (200, {"status": "alive"})
    start_draining()
    assert ask("/health/live/") == (200, {"status": "alive"})


def test_draining_is_not_ready() -> None:
    """A process that leaves says so at once, without asking anything; its health is what it was."""
    register("database", passes)
    start_draining()
    assert ask("/health/ready/") == (503, {"status": "draining"})
    assert ask("/health/")[0] == 200


def test_who_leaves_an_address_to_others_stays_ready() -> None:
    """A probe can't choose which worker it meets: as long as others serve on, the one that leaves answers like them."""
    register("database", passes)
    others = [True]
    stay_ready_while(lambda: bool(others))
    start_draining()
    assert ask("/health/ready/")[0] == 200
    others.clear()
    assert ask("/health/ready/") == (503, {"status": "draining"})


@pytest.mark.parametrize("url", ["/health/", "/health/live/", "/health/ready/"])
def test_answers_hold_no_reasons_and_are_never_kept(url: str) -> None:
    """No text of an exception leaves the process, and no cache keeps an answer."""
    register("database", fails)
    response = Client().get(url)
    for word in ("hunter2", "db.internal", "connect", "OSError", "Traceback"):
        assert word not in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    assert Client().head(url).status_code == response.status_code
    assert Client().post(url).status_code == 405


def test_a_check_of_the_same_name_replaces_the_first() -> None:
    """A service may ask for its database in its own way; the old answer does not outlive the old check."""
    register("database", fails)
    assert not report().ready
    register("database", passes)
    assert report().ready
    unregister("database")
    assert report().checks == {}
    unregister("database")


def test_no_checks_is_healthy() -> None:
    """A service without needs is always ready."""
    assert ask("/health/ready/") == (200, {"status": "ready", "checks": {}})
