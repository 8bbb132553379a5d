"""What people see: steps with their times, the table of a platform that is ready, and the log of all processes."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from rich.console import Console
from rich.text import Text

from bandstand.workspace.runtime import (
    Failed,
    Line,
    Notice,
    Output,
    Ready,
    Report,
    StepDone,
    Stopping,
    render_record,
)

__all__ = ["LogPrinter", "TerminalReporter", "Writer", "console"]

_PALETTE: Final = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
_LEVELS: Final = {"WARN": "yellow", "ERROR": "red", "FATAL": "bold red", "DEBUG": "dim"}


def console(*, stderr: bool = False) -> Console:
    """A console that never wraps what machines or people with a pager read."""
    found = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=250)


class Writer:
    """Prints on a thread of its own: a terminal that stands still (Ctrl-S) must not make the platform stand still.

    What does not fit into the queue meanwhile is left out and counted; the log files have all of it.
    """

    def __init__(self, target: Console, *, capacity: int = 10_000) -> None:
        self._console = target
        self._items: queue.Queue[Text | None] = queue.Queue(capacity)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def print(self, item: Text) -> None:
        try:
            self._items.put_nowait(item)
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Print what is left, but wait no longer than a moment."""
        try:
            self._items.put(None, timeout=0.5)
        except queue.Full:
            return
        self._thread.join(2.0)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            with suppress(OSError):  # whoever read this has gone (`bandstand up | head`); the platform has not
                self._show(item)

    def _show(self, item: Text) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._console.print(Text(f"… {lost} lines were left out here; the log files have them.", "dim"))
        self._console.print(item)


class LogPrinter:
    """Turns raw lines into lines for people, each process in a colour of its own."""

    def __init__(self, names: Iterable[str]) -> None:
        listed = list(names)
        self._width = max((len(name) for name in listed), default=0)
        self._colours = {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(listed)}

    def text(self, name: str, raw: str, *, at: str | None = None) -> Text:
        line = render_record(raw)
        text = Text()
        text.append(f"{line.time or at or '':<12} ", "dim")
        text.append(f"{name:<{self._width}} ", self._colours.get(name, ""))
        if line.level and line.level != "INFO":
            text.append(f"{line.level} ", _LEVELS.get(line.level, ""))
        text.append(line.text)
        if line.correlation_id:
            text.append(f" [{line.correlation_id}]", "dim")
        for more in line.more:
            text.append(f"\n{'':<{self._width + 14}}{more}", "dim")
        return text


class TerminalReporter:
    """Shows a start, then the log. ``shown`` says which processes' lines are for the terminal."""

    def __init__(
        self, writer: Writer, printer: LogPrinter, *, shown: Callable[[str, Line], bool], foreground: bool
    ) -> None:
        self._writer = writer
        self._printer = printer
        self._shown = shown
        self._foreground = foreground
        self._ready = False

    def __call__(self, report: Report) -> None:
        match report:
            case StepDone(skipped=True):
                self._say(f"{report.at:>7.2f} s  {report.label}: nothing to do", "dim")
            case StepDone():
                self._say(f"{report.at:>7.2f} s  {report.label} ({report.seconds:.2f} s)")
            case Notice():
                self._say(report.text, "yellow")
            case Stopping():
                self._say(report.text)
            case Ready():
                self._ready = True
                self._writer.print(ready_table(report, foreground=self._foreground))
            case Output():
                self._log(report)
            case Failed():
                pass  # the command says it last, on standard error

    def _log(self, report: Output) -> None:
        if self._ready and self._shown(report.name, render_record(report.line)):
            self._writer.print(self._printer.text(report.name, report.line, at=time.strftime("%H:%M:%S")))

    def _say(self, text: str, style: str = "") -> None:
        self._writer.print(Text(text, style))


def ready_table(ready: Ready, *, foreground: bool) -> Text:
    """Where everything is, and how to stop it. Not a table of rich's: that cuts addresses to fit a narrow terminal."""
    rows = [("Gateway", ready.gateway, "")]
    rows += [(name, url, f"API: {ready.documents[name]}") for name, url in ready.services.items()]
    rows += [("Mails", ready.mail, ""), ("Stop", "Ctrl-C" if foreground else "bandstand down", "")]
    names, urls = (max(len(row[column]) for row in rows if row[2] or not column) for column in (0, 1))
    text = Text.assemble((f"\n{ready.platform} is ready in {ready.seconds:.1f} s\n\n", "bold"))
    for name, place, more in rows:
        text.append(f"{name:<{names}}   {place:<{urls}}   {more}".rstrip() + "\n", "bold" if name == "Gateway" else "")
    return text
