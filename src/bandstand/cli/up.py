"""``bandstand up``: start everything."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import psutil
import typer

from bandstand.cli.failing import fail, failing, print_json
from bandstand.cli.terminal import LogPrinter, TerminalReporter, Writer, console
from bandstand.cli.workspace import Context, FolderOption, JsonOption, Opened, opened
from bandstand.exceptions import StartInterrupted
from bandstand.workspace.runtime import (
    Background,
    Failed,
    Line,
    Ready,
    Reporter,
    run_platform,
    start_in_background,
)

__all__ = ["up"]


def up(
    context: Context,
    *,
    folder: FolderOption = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    json: JsonOption = False,
) -> None:
    """Start the platform: servers, databases, migrations, services and the gateway.

    In the foreground it shows the log of all services until Ctrl-C, which stops everything. With --detach it returns
    when all is ready; `bandstand down` stops it.
    """
    if json and not detach:
        raise typer.BadParameter(
            "it goes with --detach: in the foreground there is a log, and no end.", param_hint="--json"
        )
    with failing(json=json):
        place = opened(context, folder)
        if detach:
            _in_background(place, json=json)
        else:
            _in_foreground(place)


def _in_foreground(place: Opened) -> None:
    writer = Writer(console())
    reporter = _reporter(place, writer, foreground=True)
    _greet(place)
    try:
        # A terminal that is closed stops its platform; without one, SIGHUP has its usual meaning for a daemon.
        run_platform(place.workspace, place.manifest, reporter, hang_up_stops=sys.stdin.isatty())
    finally:
        writer.close()


def _in_background(place: Opened, *, json: bool) -> None:
    began = time.time()
    with _interrupts_deferred() as interrupted:  # one that came now would leave a runner that nobody follows
        background = start_in_background(place.workspace, place.manifest)
    try:
        if interrupted:
            raise KeyboardInterrupt
        if json:
            _follow(background, _ignore, began=_process_start(), json=True)
        else:
            _greet(place)
            writer = Writer(console())
            try:
                _follow(background, _reporter(place, writer, foreground=False), began=began, json=False)
            finally:
                writer.close()
    except KeyboardInterrupt:
        background.stop()
        stopped = StartInterrupted(signal.SIGINT)
        fail(stopped.code, stopped.message, "", json=json, status=stopped.status)


@contextmanager
def _interrupts_deferred() -> Iterator[list[int]]:
    """Note Ctrl-C in the list instead of raising it."""
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(background: Background, reporter: Reporter, *, began: float, json: bool) -> None:
    for report in background.follow():
        reporter(report)
        match report:
            case Failed():
                fail(report.code, report.message, report.hint, json=json)
            case Ready():
                if json:
                    _print_ready(report, seconds=time.time() - began)
                return
    fail(
        "service_failed",
        "The runner ended before the platform was ready.",
        "Look at .bandstand/logs/runner.log.",
        json=json,
    )


def _print_ready(ready: Ready, *, seconds: float) -> None:
    print_json(
        {
            "gateway": ready.gateway,
            "services": ready.services,
            "mail": ready.mail,
            "seconds": round(seconds, 3),
        }
    )


def _process_start() -> float:
    """When this command began, the start of Python itself included."""
    return psutil.Process(os.getpid()).create_time()


def _greet(place: Opened) -> None:
    console().print(f"Starting {place.workspace.name} in {place.workspace.root}")


def _ignore(_report: object) -> None:
    pass


def _reporter(place: Opened, writer: Writer, *, foreground: bool) -> TerminalReporter:
    names = [process.name for process in place.workspace.processes]
    return TerminalReporter(writer, LogPrinter([*names, "gateway"]), shown=_is_shown, foreground=foreground)


def _is_shown(name: str, line: Line) -> bool:
    """The services speak; of the gateway only what it refused itself; the servers' logs are in their files."""
    if name == "gateway":
        return not line.upstream and "caught ENVOY_SIGTERM" not in line.text  # its word for an ordinary end
    return name not in {"postgres", "redis", "nats", "rabbitmq", "rabbitmq-epmd"}
