import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from bandstand.events import publish
from bandstand.events.models import DeadLetter, Delivery

from .conftest import Desk, UserCreated

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("events", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def dead(desk: Desk) -> Desk:
    """Two dead letters: one that failed, one that can't be read."""

    def fail(event: UserCreated) -> None:
        raise ValueError("never")

    desk.handle(fail)
    desk.settings = desk.settings.__class__(retry_delays=(0.0,))
    desk.consumer.retrier._settings = desk.settings
    desk.bring(UserCreated(user_id="1"))
    desk.bring(b"\xff rubbish")
    return desk


def test_status_says_what_is_where(dead: Desk) -> None:
    """Outbox and subscriptions with their counts, for people and for machines."""
    with transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    assert "outbox: 1 waiting, 0 parked" in run("status")
    assert "welcome (no handler any more): 0 waiting, 0 running, 2 dead" in run("status")
    status = json.loads(run("status", "--json"))
    assert status["outbox"]["pending"] == 1
    assert [(each["name"], each["dead"]) for each in status["subscriptions"]] == [("welcome", 2)]


def test_dead_letters_are_listed_and_shown(dead: Desk) -> None:
    """The list has a line for each with its error; one in full has the traceback and the body."""
    assert "ValueError: never" in run("dead", "list")
    assert len(run("dead", "list", "--type", "user.created").splitlines()) == 1
    letter = DeadLetter.objects.get(reason="failed")
    shown = run("dead", "show", str(letter.pk))
    assert "Traceback" in shown
    assert '"user_id":"1"' in shown
    assert run("dead", "list", "--subscription", "nobody").strip() == "No dead letters."


def test_a_replayed_letter_gets_all_its_attempts_again(dead: Desk) -> None:
    """Replaying takes the letter out of the dead and handles it anew; after the repair it succeeds."""
    letter = DeadLetter.objects.get(reason="failed")
    assert run("dead", "replay", str(letter.pk)).strip() == "Replayed 1."
    assert Delivery.objects.get().attempts == 0
    seen: list[str] = []

    def repaired(event: UserCreated) -> None:
        seen.append(event.user_id)

    dead.registry.remove("welcome")
    dead.handle(repaired)
    dead.pass_time(0)
    assert seen == ["1"]
    assert not DeadLetter.objects.filter(reason="failed").exists()


def test_what_can_never_be_read_is_not_replayed(dead: Desk) -> None:
    """Bytes that are no text stay dead, and the command fails and says which."""
    unreadable = DeadLetter.objects.get(reason="invalid")
    with pytest.raises(CommandError, match=f"can't be read by any handler: {unreadable.pk}"):
        run("dead", "replay", "--all")
    assert list(DeadLetter.objects.values_list("reason", flat=True)) == ["invalid"]
    assert Delivery.objects.count() == 1


def test_strangers_can_t_speak_to_the_terminal(dead: Desk) -> None:
    """Escape sequences in an event are shown as text."""
    dead.bring(b'{"id": "\x1b[2J\x9b31m"}', broker_id="second")
    shown = run("dead", "show", "--all") + run("dead", "list")
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown


def test_dropping_is_for_ever(dead: Desk) -> None:
    """Dropped letters are gone; the number is told."""
    assert run("dead", "drop", "--subscription", "welcome").strip() == "Dropped 2."
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize("action", ["replay", "drop", "show"])
def test_a_command_without_a_choice_does_nothing(action: str, dead: Desk) -> None:
    """Nobody drops everything by leaving something out."""
    with pytest.raises(CommandError, match="Say which"):
        run("dead", action)
    assert DeadLetter.objects.count() == 2
