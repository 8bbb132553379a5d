"""Traces of several services made one story, services that do not answer, and what people see."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bandstand.cli.app import app
from bandstand.cli.events import asking
from bandstand.cli.events.asking import Conversation, Silent, WrittenWrong, ask_all
from bandstand.cli.events.joining import Delivery, Entry, Event, Question, Trace, join, research
from bandstand.cli.events.showing import letter_table, status_table, story_trees
from bandstand.cli.service import Inside

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(
    name: str, *, source: str = "order-service", caused_by: str = "", here: bool = True, after: float = 0
) -> Event:
    return Event(
        id=name,
        type=f"{name}.happened",
        source=source,
        key="7",
        correlation_id="correlation-1",
        causation_id=caused_by,
        published_at=BEGAN + timedelta(seconds=after),
        published_here=here,
        relayed_at=BEGAN + timedelta(seconds=after + 0.01) if here else None,
    )


def delivery(event_id: str, subscription: str, state: str, **more: Any) -> Delivery:
    return Delivery(event_id=event_id, subscription=subscription, state=state, **more)


class Platform:
    """Two services that answer as the real ones do: only about what they are asked."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.orders = [event("order"), event("confirmed", caused_by="stock", after=2)]
        self.stock = [event("stock", source="product-service", caused_by="order", after=1)]

    def ask(self, question: Question) -> list[Trace]:
        self.questions.append(question)
        asked = set(question.ids)
        found = {
            name: tuple(each for each in events if {each.id, each.correlation_id} & asked)
            for name, events in (("order-service", self.orders), ("product-service", self.stock))
        }
        handled = [delivery(each, "reserve", "handled", at=BEGAN) for each in asked & {"order"}]
        return [
            Trace(service="order-service", events=found["order-service"], deliveries=()),
            Trace(service="product-service", events=found["product-service"], deliveries=tuple(handled)),
        ]


def test_an_id_leads_to_the_whole_story() -> None:
    """From one event to its correlation, from there to all of its events, and to everywhere they went."""
    platform = Platform()
    story = research("stock", platform.ask)
    assert [each.id for each in story.events] == ["order", "stock", "confirmed"]
    assert [each.id for each in story.roots()] == ["order"]
    assert [each.id for each in story.children(story.events[0])] == ["stock"]
    assert [(each.service, each.subscription) for each in story.of("order")] == [("product-service", "reserve")]
    assert len(platform.questions) == 3
    assert platform.questions[-1].known["stock"].source == "product-service"


def test_a_correlation_id_leads_there_too() -> None:
    """It is asked for as an event's id is."""
    assert len(research("correlation-1", Platform().ask).events) == 3


def test_what_nobody_knows_is_an_empty_story() -> None:
    """One round is enough to see it."""
    platform = Platform()
    story = research("unknown", platform.ask)
    assert not story.events
    assert len(platform.questions) == 1


def test_the_publishers_word_counts() -> None:
    """A consumer that failed knows the event too, but not when it was relayed."""
    consumer = Trace(service="b", events=(event("order", here=False),), deliveries=())
    publisher = Trace(service="a", events=(event("order"),), deliveries=(), truncated=True)
    for traces in ([consumer, publisher], [publisher, consumer]):
        story = join("order", traces)
        assert [each.published_here for each in story.events] == [True]
        assert story.truncated


def printed(*things: Any) -> str:
    console = Console(width=200, file=StringIO())
    for each in things:
        console.print(each)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_story_is_shown_as_a_tree() -> None:
    """Below an event its way with each attempt, and what it caused; what is missing is said."""
    failed = Entry(what="failed", at=BEGAN, number=1, text="Traceback…\nValueError: never")
    edited = Entry(what="edited", at=BEGAN, text='{"old": 1}', by="ada")
    unsent = event("stock", caused_by="order", here=True, after=1)
    traces = [
        Trace(
            service="a",
            events=(event("order"), Event(**{**_fields(unsent), "relayed_at": None, "relay_error": "refused"})),
            deliveries=(
                delivery("order", "x", "retrying", at=BEGAN, due_at=BEGAN, history=(failed,)),
                delivery("order", "y", "dead", at=BEGAN, letter=17, history=(failed, edited)),
                delivery("order", "z", "expected"),
                delivery("order", "h", "handled", at=BEGAN + timedelta(seconds=1.5)),
                delivery("lost", "x", "handled", at=BEGAN),
            ),
        )
    ]
    shown = printed(*story_trees(join("order", traces)))
    assert "attempt 1 failed: ValueError: never" in shown
    assert "next attempt 03:04:05" in shown
    assert "dead letter 17" in shown
    assert "edited by ada\n" in shown.replace("│", "").replace("  ", "").replace(" \n", "\n")
    assert "a  z  nothing yet" in shown
    assert "+1.500 s  a  h  handled" in shown
    assert "not relayed yet: refused" in shown
    assert "? lost  no service remembers publishing it" in shown
    assert shown.index("order.happened") < shown.index("stock.happened")


def _fields(found: Event) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Event.__struct_fields__}


def test_the_status_is_one_table() -> None:
    """A row for each outbox and each subscription; what the broker can't tell is a question mark."""
    box = {"pending": 5, "in_flight": 2, "parked": 1, "parked_keys": 1, "oldest": 61.2}
    sub = {"name": "reserve", "known": True, "at_broker": None, "in_hand": None, "retrying": 3, "waiting": 4}
    gone = {**sub, "name": "old", "known": False, "at_broker": 7, "in_hand": 1}
    rest = {"running": 1, "dead": 9, "oldest": 0.2}
    shown = printed(status_table({"a": {"outbox": box, "subscriptions": [{**sub, **rest}, {**gone, **rest}]}}))
    rows = [line.split() for line in shown.splitlines()]
    assert rows[1] == ["a", "outbox", "2", "2", "1", "61", "s"]
    assert rows[2] == ["reserve", "?", "?", "3", "4", "9"]
    assert "old (no handler any more)" in shown
    assert rows[3][-5:] == ["7", "2", "3", "4", "9"]


def test_letters_of_all_services_are_one_table() -> None:
    """Each row says whose it is."""
    letter = {
        "id": 3,
        "died_at": "2026-01-02T03:04:05Z",
        "subscription": "reserve",
        "type": "",
        "error": "[bold]no \x1b[2J",
    }
    shown = printed(letter_table({"a": [letter], "b": []}))
    assert "a         3    2026-01-02 03:04:05   reserve" in shown
    assert r"[bold]no \x1b[2J" in shown, "what others wrote is neither markup nor a command to the terminal"


# --- services as processes ------------------------------------------------------------------------
ECHO = """
import argparse, json, sys
parser = argparse.ArgumentParser("manage.py events dead list")
parser.add_argument("--limit", type=int)
if "list" in sys.argv and "--limit" in sys.argv:
    parser.parse_args(sys.argv[4:])
if sys.argv[1:] == ["events", "status", "--json"]:
    print(json.dumps({"outbox": {}}))
elif "-" in sys.argv:
    for line in sys.stdin:
        print(json.dumps({"ids": json.loads(line)["ids"]}), flush=True)
else:
    print("x" * 200_000, file=sys.stderr)
    sys.exit("CommandError: no such table")
"""


@pytest.fixture
def service(tmp_path: Path) -> Inside:
    (tmp_path / "manage.py").write_text(ECHO)
    stand_in: Any = SimpleNamespace(name="echo-service", folder=tmp_path)
    return Inside(service=stand_in, environment={}, running=True)


@pytest.fixture
def talk(service: Inside, request: pytest.FixtureRequest) -> Iterator[Conversation]:
    made = Conversation(service, *request.param)
    yield made
    made.close()


@pytest.mark.parametrize("talk", [("trace", "--json", "-")], indirect=True)
def test_one_process_answers_many_questions(talk: Conversation) -> None:
    """Django starts once for all rounds."""
    for number in range(3):
        assert talk.ask(Question(ids=(str(number),)), dict[str, Any])["ids"] == [str(number)]


@pytest.mark.parametrize("talk", [("dead", "list")], indirect=True)
def test_a_service_that_fails_says_why(talk: Conversation) -> None:
    """Its last words are told, also after more than a pipe holds."""
    with pytest.raises(Silent, match="no such table"):
        talk.read(dict[str, Any])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--limit", "all"], "argument --limit: invalid int value: 'all'"),
        (["--limit", "3", "--colour", "a\nb: error: c"], "unrecognized arguments: --colour a\nb: error: c"),
    ],
)
def test_what_is_written_wrong_is_told_as_the_service_tells_it(
    service: Inside, arguments: list[str], says: str
) -> None:
    """Nobody looks for a fault in the services when it is in the arguments."""
    talk = Conversation(service, "dead", "list", *arguments)
    with pytest.raises(WrittenWrong, match=f"^{re.escape(says)}$"):
        talk.read(dict[str, Any])
    talk.close()


def test_a_service_without_its_commands_is_not_the_users_fault(service: Inside) -> None:
    """Python ends with the status of wrong usage too where it finds no manage.py."""
    (service.service.folder / "manage.py").unlink()
    talk = Conversation(service, "dead", "list")
    with pytest.raises(Silent, match="No such file"):
        talk.read(dict[str, Any])
    talk.close()


def test_wrong_usage_is_told_once_with_its_own_status(service: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many services are asked, the message is one, and the exit status that of a command written wrong."""
    monkeypatch.setattr("bandstand.cli.events.commands.opened", lambda context, folder: None)
    monkeypatch.setattr("bandstand.cli.events.commands.reached", lambda place: _three(service))
    result = CliRunner().invoke(app, ["events", "dead", "list", "--limit", "all"], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert result.stderr.count("argument --limit: invalid int value: 'all'") == 1
    assert "can't be asked" not in result.stderr


def test_what_ails_all_services_is_told_once(service: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same failure of several services is one message with their names, and status 1."""
    monkeypatch.setattr("bandstand.cli.events.commands.opened", lambda context, folder: None)
    monkeypatch.setattr("bandstand.cli.events.commands.reached", lambda place: _three(service))
    result = CliRunner().invoke(app, ["events", "dead", "list"])
    assert result.exit_code == 1
    assert "a-service, b-service, c-service can't be asked: " in result.stderr
    assert result.stderr.count("no such table") == 1


def _three(one: Inside) -> list[Inside]:
    def named(name: str) -> Inside:
        stand_in: Any = SimpleNamespace(name=name, folder=one.service.folder)
        return Inside(service=stand_in, environment={}, running=True)

    return [named("a-service"), named("b-service"), named("c-service")]


@pytest.mark.parametrize("talk", [("trace", "--json", "-")], indirect=True)
def test_a_service_that_hangs_is_given_up(service: Inside, monkeypatch: pytest.MonkeyPatch, talk: Conversation) -> None:
    """Nobody waits for ever: its time ends, and it is killed."""
    monkeypatch.setattr(asking, "_PATIENCE", 0.05)
    hanging = Conversation(service, "trace", "--json", "-")
    with pytest.raises(Silent, match="did not answer in time"):
        hanging.read(dict[str, Any])
    hanging.close()


def test_one_that_does_not_answer_does_not_silence_the_others(service: Inside) -> None:
    """Answers and failures are both returned, by name."""
    other: Any = SimpleNamespace(name="other-service", folder=service.service.folder)
    second = Inside(service=other, environment={}, running=True)

    def question(found: Inside) -> int:
        if found is second:
            raise Silent("no")
        return 1

    assert ask_all([service, second], question) == ({"echo-service": 1}, {"other-service": "no"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dead", "replay", "1"], "--service"),
        (["dead", "burn", "1"], "list, show, replay, edit, drop"),
        (["trace"], "ID"),
    ],
)
def test_a_command_that_is_written_wrong_ends_with_2(arguments: list[str], says: str) -> None:
    """Nothing is asked or done, and the message says what is missing."""
    result = CliRunner().invoke(app, ["events", *arguments])
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize("arguments", [["status"], ["trace", "x"], ["dead", "list"]])
def test_a_platform_that_does_not_run_is_told(tmp_path: Path, arguments: list[str]) -> None:
    """Status 1 with the code, as for each command."""
    service = tmp_path / "user-service"
    (service / "user_service").mkdir(parents=True)
    (service / "manage.py").touch()
    (service / "user_service" / "wsgi.py").touch()
    (tmp_path / "bandstand.toml").write_text('[platform]\nname = "tiny"\n\n[services.user-service]\ncalls = []\n')
    result = CliRunner().invoke(app, ["-C", str(tmp_path), "events", *arguments, "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "not_running"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_an_id_that_no_service_knows_is_an_error(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 1 for people and machines alike, and these get an object that says so instead of an empty story."""
    monkeypatch.setattr("bandstand.cli.events.commands.opened", lambda context, folder: None)
    monkeypatch.setattr("bandstand.cli.events.commands._investigate", lambda place, asked: (join(asked, []), {}))
    result = CliRunner().invoke(app, ["events", "trace", "unknown", *arguments])
    assert result.exit_code == 1
    assert "No service knows an event or a correlation 'unknown'" in result.stderr
    assert [json.loads(line)["error"]["code"] for line in result.stdout.splitlines()] == ["unknown_event"] * len(
        arguments
    )


@pytest.mark.parametrize("command", ["status", "trace", "dead"])
def test_help_has_examples(command: str) -> None:
    """Each command's help ends with lines that can be typed."""
    shown = CliRunner().invoke(app, ["events", command, "--help"]).stdout
    assert f"bandstand events {command}" in shown.partition("Examples:")[2]
