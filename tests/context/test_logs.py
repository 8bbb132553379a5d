import io
import json
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from bandstand.context import ConsoleFormatter, JsonFormatter, bind, new_context

Log = Callable[..., Any]


def record(message: object = "hello", *args: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("tests.logs")
    made = logger.makeRecord(logger.name, logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def text(message: object = "hello", *args: object, **extra: object) -> str:
    line = JsonFormatter().format(record(message, *args, **extra))
    assert "\n" not in line
    return line


def fields(message: object = "hello", *args: object, **extra: object) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(text(message, *args, **extra))
    return decoded


def test_a_line_holds_the_fields_of_the_design() -> None:
    """Each line says when, how grave, where from, which service and process, and for which request."""
    context = new_context(correlation_id="abcdefgh")
    made = record("%s sold", 3, order="o1")
    made.created = 1767225600.0419
    with bind(context):
        assert json.loads(JsonFormatter().format(made)) == {
            "ts": "2026-01-01T00:00:00.041Z",
            "level": "INFO",
            "logger": "tests.logs",
            "message": "3 sold",
            "service": "test-service",
            "process": "web",
            "correlation_id": "abcdefgh",
            "trace_id": context.trace.trace_id,
            "order": "o1",
        }


def test_outside_of_requests_there_is_no_correlation_id() -> None:
    """No id is made up for a line that belongs to no request."""
    assert fields()["correlation_id"] is None


def test_the_time_goes_on() -> None:
    """The part of the time that is kept for a second is made anew in the next."""
    formatter = JsonFormatter()
    times = []
    for created in (1767225600.9999, 1767225601.0, 1767225600.5):
        made = record()
        made.created = created
        times.append(json.loads(formatter.format(made))["ts"][11:])
    assert times == ["00:00:00.999Z", "00:00:01.000Z", "00:00:00.500Z"]


@pytest.mark.parametrize(
    "forged",
    [
        'x"}\n{"level":"ERROR"',
        "line\r\nfeed",
        "\x1b[31mred\x1b[0m",
        "\x9b31m C1",
        "nul\x00",
        "del\x7f",
        "separator\u2028and\u2029",
        "\u202etxt.exe",
        "zero\u200bwidth",
        "lone \ud800 surrogate",
        "\ufeffmark",
        "emoji 🎺 and ümlaut",
    ],
)
def test_a_message_cannot_forge_a_line_or_move_a_terminal(forged: str) -> None:
    """Whatever a message holds, the line is one line of JSON, all of it printable, and says it fully."""
    line = text(f"got {forged}", value=forged)
    assert line.isprintable()
    said = json.loads(line)
    assert said["level"] == "INFO"
    if "\ud800" not in forged:
        assert said["message"] == f"got {forged}"
        assert said["value"] == forged
    console = ConsoleFormatter().format(record(f"got {forged}", value=forged))
    assert console.isprintable()


LEAVES = st.text(max_size=20) | st.integers() | st.floats()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=10), VALUES, max_size=3))
def test_any_record_becomes_one_line(message: str, extra: dict[str, Any]) -> None:
    """No text and no value breaks the line."""
    named = {f"x_{name}": value for name, value in extra.items()}
    assert isinstance(json.loads(text(message.replace("%", "%%"), **named)), dict)
    assert "\n" not in ConsoleFormatter().format(record(message.replace("%", "%%"), **named))


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Broken(),
        {(1, 2): 3},
        {"a": {"b": [Broken()]}},
        2**80,
        float("nan"),
        {1, 2},
        b"\xff",
        Decimal("1.10"),
        UUID(int=1),
        mark_safe("<b>"),
        ValueError("x"),
        lambda: None,
        {"\ud800": 1},
    ],
)
def test_any_value_can_be_logged(value: object) -> None:
    """What JSON has no form for becomes text; a value that cannot even be text does not lose the line."""
    said = fields("kept", value=value)
    assert said["message"] == "kept"
    assert "value" in said
    assert "kept" in ConsoleFormatter().format(record("kept", value=value))


def test_a_dictionary_that_holds_itself_ends() -> None:
    """A cycle is cut off."""
    cycle: dict[str, Any] = {"name": "a"}
    cycle["self"] = cycle
    assert fields(value=cycle)["value"]["name"] == "a"


def test_arguments_that_do_not_fit_do_not_lose_the_line() -> None:
    """A wrong format string is said with its record, not as a traceback in between the lines."""
    assert fields("%d items", "three")["message"] == "%d items (its arguments do not fit: TypeError)"


def test_a_long_message_is_shortened() -> None:
    """A message, an extra field and a traceback have limits, and say that they were cut."""
    said = fields("x" * 100_000, value="y" * 100_000)
    assert len(said["message"]) < 9000
    assert said["message"].endswith("(100000 characters)")
    assert len(said["value"]) < 9000


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "token", "X-Service-Token", "authorization", "cookie", "api_key", "client_secret"],
)
def test_secrets_are_hidden_by_name(name: str) -> None:
    """A field whose name speaks of a secret is shown without its value, at any depth, in both formats."""
    line = text("m", **{name: "hunter2", "data": {"inner": {name: "hunter2"}}})
    assert "hunter2" not in line
    assert json.loads(line)[name] == "***"
    assert "hunter2" not in ConsoleFormatter().format(record("m", **{name: "hunter2"}))


@pytest.mark.parametrize(
    "said",
    [
        "cannot connect to postgresql://shop:hunter2@db:5432/shop",
        "redis://:hunter2@cache:6379/0 refused",
        "amqp://a:hunter2@b and nats://c:hunter2@d",
        "Authorization: Bearer hunter2.hunter2",
        "token eyJhbGciOiJFZERTQSJ9.eyJodW50ZXIyIjoxfQ.aHVudGVyMg",
        "connection failed: host=db user=u password=hunter2",
        "GET /reset?token=hunter2&user=1",
    ],
)
def test_secrets_are_masked_in_texts(said: str) -> None:
    """Passwords in URLs, tokens and assignments are masked in messages and in tracebacks."""
    try:
        raise ValueError(said)
    except ValueError as error:
        made = record(said)
        made.exc_info = (ValueError, error, error.__traceback__)
    for line in (text(said), text("m", value=said), JsonFormatter().format(made), ConsoleFormatter().format(made)):
        assert "hunter2" not in line
        assert "aHVudGVyMg" not in line
        assert "***" in line


def test_what_is_no_secret_is_left_as_it_is() -> None:
    """Masking does not eat ordinary texts."""
    said = "see https://example.org:8443/a/b@c?page=2 of user a@b.example, ratio=0.5"
    assert fields(said)["message"] == said


def test_an_extra_field_cannot_take_the_place_of_a_standard_one() -> None:
    """Who logs `service=` by mistake does not change who speaks."""
    said = fields(service="forged", trace_id="forged")
    assert (said["service"], said["extra_service"], said["trace_id"]) == ("test-service", "forged", None)


def test_a_traceback_is_a_field() -> None:
    """The traceback is in the same line, its end kept when it is long."""

    def deep(level: int) -> None:
        if level == 0:
            raise ValueError("the cause")
        try:
            deep(level - 1)
        except ValueError as error:
            raise ValueError("outer " + "x" * 500) from error

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    try:
        deep(60)
    except ValueError:
        logger.exception("failed", stack_info=True)
    finally:
        logger.removeHandler(handler)
    [line] = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said["level"] == "ERROR"
    assert said["exception"].endswith("x" * 500)
    assert len(said["exception"]) <= 16 * 1024
    assert "test_a_traceback_is_a_field" in said["stack"]


def test_the_console_line_is_for_people() -> None:
    """Time, level, logger, message, extras and the end of the correlation id."""
    made = record("sold %d", 3, order="o1", nothing=None)
    made.created = 1767225600.25
    with bind(new_context(correlation_id="0123456789abcdefghij")):
        assert ConsoleFormatter().format(made) == "00:00:00.250 INFO    tests.logs sold 3 order=o1 [89abcdefghij]"


def test_a_console_traceback_is_indented() -> None:
    """No line of a traceback can pass for a record, and none moves the terminal."""
    made = record("failed")
    made.exc_text = "Traceback\nValueError: x\n00:00:00.000 ERROR   forged \x1b[2J"
    lines = ConsoleFormatter().format(made).split("\n")
    assert lines[0].endswith("tests.logs failed")
    assert len(lines) == 4
    assert all(line.startswith("    | ") and line.isprintable() for line in lines[1:])


def test_lines_are_written_without_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the settings are wrong, which must be logged too, names come from the environment."""
    monkeypatch.setenv("BANDSTAND_SERVICE", "user-service")
    monkeypatch.setenv("BANDSTAND_PROCESS", "worker")
    settings.BANDSTAND = {"nonsense": True}
    said = fields()
    assert (said["service"], said["process"]) == ("user-service", "worker")
