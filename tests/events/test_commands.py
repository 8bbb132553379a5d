import json
import re
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from bandstand.events import Message, publish
from bandstand.events import desk as desk_module
from bandstand.events.management.commands import events
from bandstand.events.mending import LetterChanged, Mending, Outcome, data_of
from bandstand.events.models import DeadLetter, Delivery, HistoryEntry

from .conftest import Desk, UserCreated

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("events", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def dead(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    """Two dead letters: one that failed, one that can't be read."""
    monkeypatch.setattr(events, "REGISTRY", desk.registry)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(event: UserCreated) -> None:
        raise ValueError("never")

    desk.handle(fail)
    desk.settings = desk.settings.__class__(retry_delays=(0.0,))
    desk.consumer.retrier._settings = desk.settings
    desk.bring(UserCreated(user_id="1"))
    desk.bring(b"\xff rubbish")
    return desk


def test_status_says_what_is_where(dead: Desk) -> None:
    """Outbox and subscriptions with their counts, for people and for machines; what has no handler is said."""
    with transaction.atomic():
        publish(UserCreated(user_id="1"), key="1")
    assert "outbox: 1 waiting, 0 in flight, 0 parked (0 keys)" in run("status")
    assert "welcome (user.created): 0 waiting, 0 retrying, 0 running, 2 dead" in run("status")
    status = json.loads(run("status", "--json"))
    assert status["service"] == "test-service"
    assert status["outbox"]["pending"] == 1
    assert [(each["name"], each["dead"]) for each in status["subscriptions"]] == [("welcome", 2)]
    dead.registry.remove("welcome")
    assert "welcome (no handler any more)" in run("status")


def test_dead_letters_are_listed_and_shown(dead: Desk) -> None:
    """The list has a line for each with its error; one in full has the traceback and the body."""
    assert "ValueError: never" in run("dead", "list")
    assert len(run("dead", "list", "--type", "user.created").splitlines()) == 1
    letter = DeadLetter.objects.get(reason="failed")
    shown = run("dead", "show", str(letter.pk))
    assert "Traceback" in shown
    assert '  "user_id": "1"' in shown
    assert run("dead", "list", "--subscription", "nobody").strip() == "No dead letters."


def test_a_replayed_letter_gets_all_its_attempts_again(dead: Desk) -> None:
    """Replaying takes the letter out of the dead and handles it anew; after the repair it succeeds."""
    letter = DeadLetter.objects.get(reason="failed")
    told = run("dead", "replay", str(letter.pk))
    assert told.startswith("Replayed 1. They are stored")
    assert f"manage.py events trace {letter.message_id}" in told
    assert Delivery.objects.get().attempts == 0
    seen: list[str] = []

    def repaired(event: UserCreated) -> None:
        seen.append(event.user_id)

    dead.registry.remove("welcome")
    dead.handle(repaired)
    dead.pass_time(0)
    assert seen == ["1"]
    assert not DeadLetter.objects.filter(reason="failed").exists()


def test_what_can_not_be_read_is_not_replayed(dead: Desk) -> None:
    """What no handler can read stays dead, and the command fails and says which and why; the others are replayed."""
    unreadable = DeadLetter.objects.get(reason="invalid")
    with pytest.raises(CommandError, match=f"(?s)1 were not:.*{unreadable.pk}  welcome  .*unreadable: .*CloudEvent"):
        run("dead", "replay", "--all")
    assert list(DeadLetter.objects.values_list("reason", flat=True)) == ["invalid"]
    assert Delivery.objects.count() == 1


def test_what_nobody_would_handle_is_not_replayed(dead: Desk) -> None:
    """Without a handler of that name the letter would wait for ever, so it stays where it is seen."""
    dead.registry.remove("welcome")
    with pytest.raises(CommandError, match="unhandled"):
        run("dead", "replay", "--type", "user.created")
    assert DeadLetter.objects.count() == 2
    assert not Delivery.objects.exists()


def test_what_came_under_a_borrowed_name_is_not_replayed(dead: Desk) -> None:
    """An event that another service published in this one's name is refused again, however it is asked for."""
    dead.bring(UserCreated(user_id="9"), source="stranger", broker_id="borrowed")
    letter = DeadLetter.objects.get(message_id="borrowed")
    with pytest.raises(CommandError, match=r"unreadable: It says that it is user\.created from user-service"):
        run("dead", "replay", str(letter.pk))
    with pytest.raises(CommandError, match="came as something else"):
        run("dead", "edit", str(letter.pk), "--data", '{"user_id": "9"}')
    assert not Delivery.objects.filter(message_id="borrowed").exists()


def test_a_replay_can_wait_for_its_end(dead: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --wait, success is told only once the handler's transaction is committed."""
    letter = DeadLetter.objects.get(reason="failed")
    dead.registry.remove("welcome")
    handled: list[str] = []

    def repaired(event: UserCreated) -> None:
        handled.append(event.user_id)

    dead.handle(repaired)
    monkeypatch.setattr(desk_module.time, "sleep", lambda seconds: dead.pass_time(0))
    assert "Handled 1." in run("dead", "replay", str(letter.pk), "--wait", "60")
    assert handled == ["1"]


def test_a_replay_that_dies_again_is_no_success(dead: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --wait, the command fails with the new number and the error of what became dead again."""
    letter = DeadLetter.objects.get(reason="failed")
    monkeypatch.setattr(desk_module.time, "sleep", lambda seconds: dead.pass_time(0))
    with pytest.raises(CommandError, match="dead: ValueError: never"):
        run("dead", "replay", str(letter.pk), "--wait", "60")
    again = DeadLetter.objects.get(reason="failed")
    assert again.pk != letter.pk
    assert again.message_id == letter.message_id


def test_a_replay_that_nobody_takes_is_no_success(dead: Desk) -> None:
    """With --wait and no worker, the time ends and the command says that it is still only scheduled."""
    with pytest.raises(CommandError, match="scheduled"):
        run("dead", "replay", "--type", "user.created", "--wait", "0.001")


def test_a_letter_is_replayed_once(dead: Desk) -> None:
    """Of two who replay the same letter at once, one is told that it is gone."""
    letters = DeadLetter.objects.filter(reason="failed")
    mending = Mending("default", dead.registry)
    number = letters.get().pk
    assert [each.outcome for each in mending.replay(letters)] == [Outcome.SCHEDULED]
    assert mending._replay(number).outcome is Outcome.GONE


def test_dropping_is_for_ever(dead: Desk) -> None:
    """Dropped letters are gone; the number is told, and the history says who did it."""
    assert run("dead", "drop", "--subscription", "welcome", "--yes").strip() == "Dropped 2."
    assert not DeadLetter.objects.exists()
    assert HistoryEntry.objects.filter(what="dropped").count() == 2


def test_dropping_asks_first(dead: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes somebody must answer yes; where nobody can, nothing is dropped and the command was wrong."""
    with pytest.raises(CommandError, match="give --yes") as refused:
        run("dead", "drop", "--all")
    assert refused.value.returncode == 2
    monkeypatch.setattr(desk_module.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was dropped"):
        run("dead", "drop", "--all")
    assert DeadLetter.objects.count() == 2
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert "Dropped 2." in run("dead", "drop", "--all")


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--error", "valueerror"], 1),
        (["--error", "nothing of that"], 0),
        (["--reason", "invalid"], 1),
        (["--since", "1h"], 2),
        (["--since", "2999-01-01T00:00:00"], 0),
        (["--type", "user.created", "--reason", "invalid"], 0),
    ],
)
def test_letters_are_chosen_by_what_is_known_of_them(arguments: list[str], count: int, dead: Desk) -> None:
    """Every condition given must hold."""
    assert json.loads(run("dead", "list", *arguments, "--json"))["count"] == count


@pytest.mark.parametrize(
    "time", ["yesterday", "", "2027-13-45", "99999999999999d", "9999999w", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_is_none_is_refused(dead: Desk, time: str) -> None:
    """A mistyped time never means all times, nor does one before all calendars end in a traceback."""
    with pytest.raises(CommandError, match="write 30m, 2h, 3d"):
        run("dead", "list", "--since", time)


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--limit", "-1"),
        ("list", "--limit", "0"),
        ("show", "--all", "--limit", "99999999999999999999"),
        ("replay", "--all", "--wait", "nan"),
        ("replay", "--all", "--wait", "inf"),
        ("replay", "--all", "--wait", "-1"),
        ("replay", "--all", "--wait", "soon"),
        ("list", "-5"),
        ("list", "0"),
        ("show", "first"),
        ("edit", "99999999999999999999"),
    ],
)
def test_a_number_that_is_none_is_refused(dead: Desk, arguments: tuple[str, ...]) -> None:
    """Nothing is listed of less than nothing, nobody waits for ever, and nothing has been done yet."""
    with pytest.raises(CommandError, match=f"{arguments[-1]!r} is no number of"):
        run("dead", *arguments)
    assert DeadLetter.objects.count() == 2


@pytest.mark.parametrize("condition", ["--subscription", "--type", "--error"])
def test_a_text_that_is_none_is_refused(dead: Desk, condition: str) -> None:
    """What was typed in another encoding than UTF-8 is told of, instead of a traceback of the database."""
    with pytest.raises(CommandError, match=f"argument {condition}: .* is no text: write UTF-8"):
        run("dead", "list", condition, "caf\udce9")


def test_empty_data_are_data(dead: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that are given are never asked for in an editor, be they empty."""
    monkeypatch.setenv("VISUAL", "false")
    letter = DeadLetter.objects.get(reason="failed")
    with pytest.raises(CommandError, match="The data are no JSON"):
        run("dead", "edit", str(letter.pk), "--data", "")


def test_repairs_tell_machines_what_they_did(dead: Desk) -> None:
    """With --json each prints one object, also when not all could be done, and the exit status is the same."""
    letter = DeadLetter.objects.get(reason="failed")
    number = str(letter.pk)
    assert json.loads(run("dead", "edit", number, "--data", '{"user_id":"2"}', "--json")) == {
        "id": letter.pk,
        "stored": True,
    }
    out = StringIO()
    with pytest.raises(CommandError, match="1 were not"):
        call_command("events", "dead", "replay", "--all", "--json", stdout=out)
    outcomes = {
        each["letter"]: (each["outcome"], each["message_id"]) for each in json.loads(out.getvalue())["replayed"]
    }
    assert outcomes[letter.pk] == ("scheduled", letter.message_id)
    assert [outcome for outcome, _ in outcomes.values()].count("unreadable") == 1
    assert json.loads(run("dead", "drop", "--all", "--yes", "--json")) == {"dropped": 1}


def test_a_number_that_is_not_there_is_told(dead: Desk) -> None:
    """Nothing is done for the others either, since the list was wrong."""
    letter = DeadLetter.objects.first()
    assert letter is not None
    with pytest.raises(CommandError, match="no dead letter 999999"):
        run("dead", "replay", str(letter.pk), "999999")
    assert DeadLetter.objects.count() == 2


def test_edited_data_are_replayed(dead: Desk) -> None:
    """The handler gets the new data; everything else of the event, also what we do not know, is as it was."""
    letter = DeadLetter.objects.get(reason="failed")
    body = json.loads(bytes(letter.body))
    DeadLetter.objects.filter(pk=letter.pk).update(body=json.dumps({**body, "strange": "kept"}).encode())
    assert "Stored." in run("dead", "edit", str(letter.pk), "--data", '{"user_id": "2", "more": 1}')
    edited = json.loads(bytes(DeadLetter.objects.get(pk=letter.pk).body))
    assert edited == {**body, "strange": "kept", "data": {"user_id": "2", "more": 1}}
    entry = HistoryEntry.objects.get(what="edited")
    assert json.loads(entry.text) == body["data"]
    assert entry.by
    seen: list[tuple[str, str]] = []

    def repaired(event: UserCreated, message: Message) -> None:
        seen.append((event.user_id, message.id))

    dead.registry.remove("welcome")
    dead.handle(repaired)
    run("dead", "replay", str(letter.pk))
    dead.pass_time(0)
    assert seen == [("2", "message-1")]


@pytest.mark.parametrize("data", ['{"user_id": 5}', "{}", '{"user_id": "1"', '{"user_id": "1"} x', "\ud800"])
def test_data_that_no_handler_could_read_are_refused(data: str, dead: Desk) -> None:
    """What does not fit the view is not stored; the letter stays as it was."""
    letter = DeadLetter.objects.get(reason="failed")
    with pytest.raises(CommandError):
        run("dead", "edit", str(letter.pk), "--data", data)
    assert bytes(DeadLetter.objects.get(pk=letter.pk).body) == bytes(letter.body)
    assert not HistoryEntry.objects.filter(what="edited").exists()


def test_what_was_typed_is_not_lost(dead: Desk) -> None:
    """Refused data are kept in a file that the message names."""
    letter = DeadLetter.objects.get(reason="failed")
    with pytest.raises(CommandError) as refused:
        run("dead", "edit", str(letter.pk), "--data", '{"user_id": 5}')
    found = re.search(r"in (\S+\.json)\.", str(refused.value))
    assert found
    path = Path(found[1])
    assert path.read_text() == '{"user_id": 5}'
    path.unlink()


def test_data_can_come_from_a_file_and_from_the_editor(
    dead: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--file reads one; without both, $EDITOR opens the data, and an unchanged text changes nothing."""
    letter = DeadLetter.objects.get(reason="failed")
    file = tmp_path / "data.json"
    file.write_text('{"user_id": "from a file"}')
    assert "Stored." in run("dead", "edit", str(letter.pk), "--file", str(file))
    editor = tmp_path / "editor"
    editor.write_text(
        "import sys, pathlib as p; f = p.Path(sys.argv[1])\nf.write_text(f.read_text().replace('a file', 'it'))"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    assert "Stored." in run("dead", "edit", str(letter.pk))
    monkeypatch.setenv("VISUAL", "true")
    assert "Nothing was changed." in run("dead", "edit", str(letter.pk))
    monkeypatch.setenv("VISUAL", "false")
    with pytest.raises(CommandError, match="editor failed"):
        run("dead", "edit", str(letter.pk))
    assert json.loads(bytes(DeadLetter.objects.get(pk=letter.pk).body))["data"] == {"user_id": "from it"}
    assert [json.loads(each.text)["user_id"] for each in HistoryEntry.objects.filter(what="edited").order_by("id")] == [
        "1",
        "from a file",
    ]


def test_nobodys_edit_is_overwritten(dead: Desk) -> None:
    """Who edits what somebody else changed meanwhile is told, and stores nothing."""
    letter = DeadLetter.objects.get(reason="failed")
    mending = Mending("default", dead.registry)
    before = data_of(letter)
    mending.edit(letter.pk, b'{"user_id":"first"}', was=before)
    with pytest.raises(LetterChanged, match="Somebody else"):
        mending.edit(letter.pk, b'{"user_id":"second"}', was=before)
    assert data_of(DeadLetter.objects.get(pk=letter.pk)) == b'{"user_id":"first"}'


def test_letters_in_full_for_machines(dead: Desk) -> None:
    """`show --json` has the data as JSON, or the body where there are none."""
    letters = json.loads(run("dead", "show", "--all", "--json"))["letters"]
    assert {each["reason"]: each["data"] and each["data"]["user_id"] for each in letters} == {
        "failed": "1",
        "invalid": None,
    }


@pytest.mark.parametrize("action", ["replay", "drop", "show"])
def test_a_command_without_a_choice_does_nothing(action: str, dead: Desk) -> None:
    """Nobody drops everything by leaving something out."""
    with pytest.raises(CommandError, match="Say which"):
        run("dead", action)
    assert DeadLetter.objects.count() == 2
