"""``bandstand ps``: what runs."""

import time

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from bandstand.cli.failing import failing, print_json
from bandstand.cli.terminal import console
from bandstand.cli.workspace import Context, FolderOption, JsonOption, opened
from bandstand.workspace.runtime import Overview, ProcessState, foreign_state, look

__all__ = ["ps"]

_COLOURS = {"ready": "green", "starting": "yellow", "unready": "yellow", "backoff": "red", "stopping": "yellow"}

_COLUMNS = ("NAME", "STATE", "PID", "PORT", "RESTARTS", "UPTIME", "MEMORY")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One process; ``uptime`` in seconds, ``memory`` in bytes with everything that it started."""

    name: str
    service: str | None
    state: str
    pid: int | None
    port: int | None
    url: str | None
    restarts: int
    uptime: float | None
    memory: int | None
    reason: str


def ps(context: Context, folder: FolderOption = None, json: JsonOption = False) -> None:
    """Show the processes of the platform: state, process id, port, restarts, uptime and memory."""
    with failing(json=json):
        place = opened(context, folder)
        if foreign := foreign_state(place.state):
            typer.echo(foreign, err=True)
        overview = look(place.state)
        rows = [_row(process, overview) for process in overview.processes if process.kind == "process"]
        if json:
            answer = {"platform": place.workspace.name, "running": overview.pid is not None, "pid": overview.pid}
            print_json({**answer, "ready": overview.ready, "gateway": overview.gateway, "processes": rows})
        elif overview.pid is None:
            typer.echo(f"{place.workspace.name} is not running. Start it with `bandstand up`.")
        else:
            console().print(_table(rows))


def _row(process: ProcessState, overview: Overview) -> Row:
    return Row(
        name=process.name,
        service=process.service,
        state=process.state,
        pid=process.pid,
        port=process.port,
        url=process.url,
        restarts=process.restarts,
        uptime=round(time.time() - process.started, 1) if process.pid and process.started else None,
        memory=overview.memory.get(process.name),
        reason=process.reason,
    )


def _table(rows: list[Row]) -> Table:
    table = Table.grid(padding=(0, 3))
    table.add_row(
        *(Text(name, "bold") for name in ("NAME", "STATE", "PID", "PORT", "RESTARTS", "UPTIME", "MEMORY", ""))
    )
    for row in rows:
        table.add_row(
            row.name,
            Text(row.state, _COLOURS.get(row.state, "")),
            _or_dash(row.pid),
            _or_dash(row.port),
            str(row.restarts),
            _duration(row.uptime),
            "-" if row.memory is None else f"{row.memory / 1_000_000:.0f} MB",
            Text(row.reason.splitlines()[0][:80] if row.reason else "", "dim"),
        )
    return table


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
