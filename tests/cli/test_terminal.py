"""What people see while a platform starts and runs."""

import io
import threading
from typing import Any

from rich.console import Console
from rich.text import Text

from bandstand.cli.terminal import LogPrinter, TerminalReporter, Writer, ready_table
from bandstand.workspace.runtime import Notice, Output, Ready, StepDone

READY = Ready(
    platform="shop",
    gateway="http://127.0.0.1:8000",
    services={"user-service": "http://127.0.0.1:20001"},
    documents={"user-service": "http://127.0.0.1:20001/api/docs/"},
    mail="/w/.bandstand/mail",
    seconds=4.21,
)


def shown(*reports: Any) -> str:
    stream = io.StringIO()
    writer = Writer(Console(file=stream, width=120))
    reporter = TerminalReporter(
        writer, LogPrinter(["user-service-web"]), shown=lambda name, line: name != "postgres", foreground=True
    )
    for report in reports:
        reporter(report)
    writer.close()
    return stream.getvalue()


def test_each_step_has_its_time() -> None:
    """When it was done, and how long it took; what was skipped says so."""
    text = shown(
        StepDone(label="PostgreSQL", seconds=0.5, at=1.25),
        StepDone(label="migrate", seconds=0.0, at=1.5, skipped=True),
        Notice(text="Port 8000 is taken"),
    )
    assert "1.25 s  PostgreSQL (0.50 s)" in text
    assert "1.50 s  migrate: nothing to do" in text
    assert "Port 8000 is taken" in text


def test_the_table_names_everything() -> None:
    """Gateway, services with their API pages, mails and how to stop."""
    text = shown(READY)
    for part in (
        "ready in 4.2 s",
        READY.gateway,
        "user-service",
        READY.documents["user-service"],
        READY.mail,
        "Ctrl-C",
    ):
        assert part in text
    stream = io.StringIO()
    Console(file=stream, width=120).print(ready_table(READY, foreground=False))
    assert "bandstand down" in stream.getvalue()


def test_addresses_are_whole_on_a_narrow_terminal() -> None:
    """What people copy from the summary is never cut to the width of their terminal."""
    stream = io.StringIO()
    Console(file=stream, width=40, soft_wrap=True).print(ready_table(READY, foreground=True))
    for address in (READY.gateway, READY.documents["user-service"], READY.mail):
        assert address in stream.getvalue()


def test_the_log_begins_when_all_is_ready() -> None:
    """While the platform starts the steps are enough; afterwards every line of a service is shown with its name."""
    line = '{"ts":"2026-01-02T03:04:05.678Z","level":"ERROR","message":"broken","exception":"Traceback\\nE: x"}'
    text = shown(
        Output(name="user-service-web", line="too early"),
        READY,
        Output(name="user-service-web", line=line),
        Output(name="postgres", line="not shown"),
    )
    assert "too early" not in text
    assert "03:04:05.678 user-service-web ERROR broken" in text
    assert "E: x" in text
    assert "not shown" not in text


def test_markup_in_a_log_is_text() -> None:
    """What looks like formatting is shown as it was written."""
    assert "[red]x[/red] [link=a]" in shown(READY, Output(name="user-service-web", line="[red]x[/red] [link=a]"))


class Stuck(io.StringIO):
    """A terminal that stands still until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.go.wait(5)
        return super().write(text)


def test_a_terminal_that_stands_still_stops_nothing() -> None:
    """Printing never waits: what does not fit is left out, and that is said when the terminal goes on."""
    stream = Stuck()
    writer = Writer(Console(file=stream, width=120), capacity=10)
    for number in range(100):
        writer.print(Text(f"line {number}"))
    stream.go.set()
    writer.print(Text("later"))
    writer.close()
    assert "lines were left out here" in stream.getvalue()
