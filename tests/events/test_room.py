"""What holds for the room as a whole."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from bandstand import failpoints
from bandstand.conf import get_settings
from bandstand.events import publish, register_checks, worker
from bandstand.events.checks import check_broker, check_database
from bandstand.events.health import BacklogTooOld, check_outbox
from bandstand.events.models import OutboxMessage
from bandstand.events.queries import queries
from bandstand.events.relay import Relay
from bandstand.events.worker import Worker, check_pool
from bandstand.exceptions import ConfigurationError
from bandstand.health import report

from .conftest import UserCreated


@pytest.mark.django_db
def test_migrations_are_those_of_the_models() -> None:
    """No change of a model is without its migration."""
    call_command("makemigrations", "bandstand_events", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_an_old_backlog_makes_the_service_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that wait for more than a minute show in /health/; the service goes on receiving requests."""
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.close", lambda self: None)
    with transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    check_outbox()
    OutboxMessage.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    with pytest.raises(BacklogTooOld, match=r"manage\.py worker"):
        check_outbox()


def test_the_check_is_registered_as_one_that_only_degrades(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog never takes a service out of the traffic: its requests do not need the broker."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "bandstand.events.health.register", lambda name, check, ready: seen.update(name=name, ready=ready)
    )
    register_checks()
    assert seen == {"name": "outbox", "ready": False}
    assert report is not None


def test_fail_points_are_inert_outside_tests() -> None:
    """Without the flag for tests the variable is not even read."""
    assert failpoints.parse({"BANDSTAND_FAILPOINTS": "relay.after_publish=kill"}) == {}
    points = failpoints.parse(
        {"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": "relay.after_publish=kill:3, consumer.inbox"}
    )
    assert (points["relay.after_publish"].action, points["relay.after_publish"].at) == ("kill", 3)
    assert points["consumer.inbox"].action == "off"
    failpoints.hit("relay.after_publish")
    assert not failpoints.switched_off("consumer.inbox")


def test_fail_points_can_stand_in_a_file(tmp_path: Path) -> None:
    """A test changes the file, and processes that start from then on have what it says."""
    file = tmp_path / "points"
    file.write_text("relay.after_publish=kill:3,consumer.inbox")
    asked = {"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": f"@{file}"}
    found = failpoints.parse(asked)
    assert {name: (point.action, point.at) for name, point in found.items()} == {
        "relay.after_publish": ("kill", 3),
        "consumer.inbox": ("off", 0),
    }
    file.write_text("")
    assert failpoints.parse(asked) == {}


def test_an_action_that_there_is_not_is_refused() -> None:
    """A fault test that does nothing would pass."""
    with pytest.raises(ValueError, match=r"'relay.after_publish=kil:3' asks for none of off, kill"):
        failpoints.parse({"BANDSTAND_TESTING": "1", "BANDSTAND_FAILPOINTS": "relay.after_publish=kil:3"})


def test_a_fail_point_acts_at_its_passage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The action happens at the passage asked for, and not at the others."""
    killed: list[int] = []
    monkeypatch.setattr(failpoints, "_points", {"here": failpoints.FailPoint("kill", 2)})
    monkeypatch.setattr(failpoints.os, "kill", lambda pid, number: killed.append(number))
    for _ in range(3):
        failpoints.hit("here")
        failpoints.hit("elsewhere")
    assert killed == [signal.SIGKILL]


def test_queries_have_names() -> None:
    """Each query of the file is found by its name, without its comments."""
    found = queries("postgresql")
    assert set(found) == {"claim", "mark_sent", "enter_together"}
    assert all("--" not in text for text in found.values())


def test_the_memory_broker_is_warned_of_before_deployment() -> None:
    """`check --deploy` says that events would reach nobody."""
    assert [warning.id for warning in check_broker(None)] == ["bandstand.events.W001"]


@override_settings(BANDSTAND={"SERVICE": "x", "EVENTS": {"DATABASE": "nowhere"}})
def test_a_database_that_is_not_there_is_an_error() -> None:
    """A wrong alias is told at start."""
    assert [error.id for error in check_database(None)] == ["bandstand.events.E001"]


class Pooled:
    vendor = "postgresql"


@pytest.mark.parametrize(("size", "fits"), [(8, True), (7, False)])
def test_a_pool_that_is_too_small_is_refused(monkeypatch: pytest.MonkeyPatch, size: int, fits: bool) -> None:
    """A worker whose threads would wait for each other's connections does not start, and says what to set."""
    monkeypatch.setattr(worker, "connections", {"default": Pooled()})
    with override_settings():
        databases = {"default": {"OPTIONS": {"pool": {"max_size": size}}}}
        monkeypatch.setattr(worker.django_settings, "DATABASES", databases)
        if fits:
            check_pool("default", 4)
        else:
            with pytest.raises(ConfigurationError, match="BANDSTAND_DATABASE_POOL_SIZE=8"):
                check_pool("default", 4)


def test_the_ready_file_follows_the_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file is there while the worker is connected, and only then."""
    path = tmp_path / "ready"
    monkeypatch.setitem(os.environ, "BANDSTAND_READY_FILE", str(path))
    monkeypatch.setattr(Relay, "is_alive", lambda _: True)
    made = Worker(get_settings(), consume=False)
    made._tell_readiness()
    assert not path.exists()
    made._broker.open(lambda: None)
    made._tell_readiness()
    assert path.exists()
    monkeypatch.undo()
    made._tell_readiness()
    assert not path.exists(), "its threads do not run"
    made._broker.close()
    made._tell_readiness()
    assert not path.exists()
