"""Logs for people: what a line becomes, and what a failure says."""

import json

from bandstand.workspace.runtime.rendering import cause, moment, render_record


def record(**fields: object) -> str:
    base = {"ts": "2026-01-02T03:04:05.678Z", "level": "INFO", "logger": "x", "message": "hello", "service": "s"}
    return json.dumps({**base, **fields})


def test_a_record_becomes_one_line() -> None:
    """Time, level, message and the end of the correlation id; what was logged with it follows as name=value."""
    line = render_record(record(correlation_id="0123456789-abcdefghijkl", order="17", empty=None))
    assert (line.time, line.text) == ("03:04:05.678", "hello order=17")
    assert line.correlation_id == "abcdefghijkl"


def test_a_request_reads_as_a_request() -> None:
    """Method, path, status and how long it took."""
    assert render_record(record(method="GET", path="/a", status=200, duration_ms=12.34)).text == "GET /a 200 12 ms"


def test_a_traceback_comes_below() -> None:
    """The lines of an exception are kept apart from the message."""
    assert render_record(record(exception="Traceback\n  x\nE: y")).more == ("Traceback", "  x", "E: y")


def test_what_is_not_a_record_stays_as_it_is() -> None:
    """Plain text, half JSON and JSON that is no object are shown as they are."""
    for raw in ("plain", '{"half', "[1]", "{}x"):
        assert render_record(raw).text == raw


def test_no_line_can_play_the_terminal() -> None:
    """Control characters of any kind come out as text: no colour, no cursor, no second line, no reversed text."""
    nasty = "a\x1b[2Jb\rc\x07d\x9be\u202ef\u2028g\x00h"
    request = record(method="GET", path=nasty, status=1)
    for line in (render_record(nasty), render_record(record(message=nasty)), render_record(request)):
        assert not [character for character in line.text if not character.isprintable()]


def test_every_shape_of_a_record_is_survived() -> None:
    """A log is written by anybody: values of strange types do not stop the reader."""
    for strange in (None, 1, [], {}, True, "x" * 100_000):
        render_record(record(ts=strange, level=strange, message=strange, correlation_id=strange, exception=strange))
        render_record(record(method=strange, path=strange, status=strange, duration_ms=strange))


def test_lines_know_their_time() -> None:
    """Records and PostgreSQL's lines sort by the same text."""
    assert moment(record()) == "2026-01-02T03:04:05.678Z"
    assert moment("2026-01-02 03:04:05.678 UTC @ LOG:  x") == "2026-01-02T03:04:05.678Z"
    assert moment("  File x") == ""


TRACEBACK = """
starting
Traceback (most recent call last):
  File "a.py", line 1, in a
    raise KeyError
KeyError

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "m.py", line 1, in m
    outer()
  File "n.py", line 2, in n
    inner()
    ^^^^^^^
  File "o.py", line 3, in o
    raise ValueError("bad\\nidea")
ValueError: bad
idea
""".strip().splitlines()


def test_the_cause_is_the_end_of_the_last_traceback() -> None:
    """The innermost frames and the whole exception are shown, and nothing of what came before."""
    shown = cause(TRACEBACK)
    assert shown[0] == '  File "n.py", line 2, in n'
    assert shown[-2:] == ["ValueError: bad", "idea"]
    assert not any("m.py" in line for line in shown)


def test_the_cause_is_found_inside_a_record() -> None:
    """A traceback that was logged as JSON is as good as one on standard error."""
    assert cause([record(exception="\n".join(TRACEBACK))])[-2:] == ["ValueError: bad", "idea"]


def test_without_a_traceback_the_last_lines_are_the_cause() -> None:
    """A program that only says what is wrong is quoted; endless lines are cut."""
    assert cause(["a", "", "b" * 1000])[-1] == "b" * 400 + "…"
    assert cause([]) == []
