"""Turns what processes write into lines for people: JSON records become one line, everything else stays as it is."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

__all__ = ["Line", "cause", "render_record"]

# Everything that could move a terminal's cursor or change its colours, C1 controls too; tabs stay.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_decode: Final = msgspec.json.Decoder().decode


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One record for people: ``level`` is empty where the process did not say one; ``more`` holds a traceback."""

    text: str
    level: str = ""
    correlation_id: str = ""
    more: tuple[str, ...] = ()


def render_record(raw: str) -> Line:
    """Make one raw line of a log readable. Control characters come out escaped, so that no line fakes another."""
    if raw.startswith("{"):
        record = _json(raw)
        if record is not None:
            return _render_json(record)
    return Line(text=_harmless(_ANSI.sub("", raw)))


def _json(raw: str) -> Mapping[str, Any] | None:
    try:
        value = _decode(raw)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def _render_json(record: Mapping[str, Any]) -> Line:
    if "message" in record:
        text = str(record["message"])
    elif "method" in record and "status" in record:
        text = "{method} {path} {status}".format(**{"path": "", **record})
    else:
        text = " ".join(f"{key}={value}" for key, value in record.items())
    level = str(record.get("level", "")).upper()
    return Line(
        text=_harmless(text),
        level=_LEVELS.get(level, level),
        correlation_id=_harmless(str(record.get("correlation_id") or ""))[:8],
        more=tuple(_harmless(line) for line in str(record.get("exception") or "").splitlines()),
    )


def _harmless(text: str) -> str:
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def cause(lines: list[str], *, limit: int = 8) -> list[str]:
    """Return what matters of a process's last lines: the end of its last traceback, else simply the end."""
    plain = [part for raw in lines for part in _flat(render_record(raw)) if part.strip()]
    starts = [number for number, line in enumerate(plain) if line.startswith("Traceback (most recent call last)")]
    if not starts:
        return plain[-limit:]
    block = _until(plain[starts[-1] :], lambda line: not line.startswith((" ", "Traceback")))
    return block[-limit:]


def _flat(line: Line) -> list[str]:
    return [line.text, *line.more]


def _until(lines: list[str], last: Callable[[str], bool]) -> list[str]:
    """Cut after the exception itself, whose text may have several lines."""
    end = next((number for number, line in enumerate(lines) if last(line)), len(lines) - 1)
    return lines[: end + 4]
