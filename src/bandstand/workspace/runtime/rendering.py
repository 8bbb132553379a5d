"""Turns what processes write into lines for people: JSON records become one line, everything else stays as it is."""

import re
from typing import Any, Final

import msgspec

__all__ = ["Line", "cause", "moment", "render_record"]

# Everything that could move a terminal's cursor or change its colours, C1 controls too; tabs stay.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# As PostgreSQL writes it, in UTC.
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}) UTC ")
_SHOWN: Final = frozenset(
    {"ts", "level", "logger", "message", "service", "process", "correlation_id", "trace_id", "exception", "stack"}
)
_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_CAUSE_FRAMES: Final = 2
_CAUSE_LINES: Final = 8
_CAUSE_WIDTH: Final = 400
_decode: Final = msgspec.json.Decoder().decode


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One record for people.

    ``level`` and ``time`` (UTC, hours to milliseconds) are empty where the process did not say them; ``more`` holds a
    traceback; ``upstream`` tells whether a request to the gateway went on to a service.
    """

    text: str
    level: str = ""
    time: str = ""
    correlation_id: str = ""
    more: tuple[str, ...] = ()
    upstream: bool = False


def render_record(raw: str) -> Line:
    """Make one raw line of a log readable. Control characters come out escaped, so that no line fakes another."""
    if raw.startswith("{"):
        record = _json(raw)
        if record is not None:
            return _render_json(record)
    return Line(text=_harmless(_ANSI.sub("", raw)))


def moment(raw: str) -> str:
    """Return when a line was written (ISO 8601, which sorts as text), or nothing where it does not say."""
    record = _json(raw) if raw.startswith("{") else None
    if record is not None:
        return str(record.get("ts") or "")
    stamp = _STAMP.match(raw)
    return f"{stamp[1]}T{stamp[2]}Z" if stamp else ""


def _json(raw: str) -> dict[str, Any] | None:
    try:
        value = _decode(raw)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def _render_json(record: dict[str, Any]) -> Line:
    level = str(record.get("level") or "").upper()
    return Line(
        text=_harmless(_request(record) if "method" in record and "status" in record else _message(record)),
        level=_LEVELS.get(level, level),
        time=_harmless(str(record.get("ts") or ""))[11:23],
        correlation_id=_harmless(str(record.get("correlation_id") or ""))[-12:],
        more=tuple(
            _harmless(line) for key in ("exception", "stack") for line in str(record.get(key) or "").splitlines()
        ),
        upstream=bool(record.get("upstream")),
    )


def _request(record: dict[str, Any]) -> str:
    """A request and its answer, as the services and the gateway log them."""
    words = [str(record.get(name, "")) for name in ("method", "path", "status")]
    duration = record.get("duration_ms")
    user, caller = record.get("user"), record.get("caller") or record.get("calling_service")
    return " ".join(
        [
            *words,
            *([f"{float(duration):.0f} ms"] if isinstance(duration, int | float) else []),
            *([f"user={user}"] if user else []),
            *([f"from={caller}"] if caller else []),
        ]
    )


def _message(record: dict[str, Any]) -> str:
    """The message, then what was logged with it."""
    more = (f"{key}={value}" for key, value in record.items() if key not in _SHOWN and value not in (None, "", [], {}))
    return " ".join([str(record.get("message", "")), *more]).strip()


def _harmless(text: str) -> str:
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def cause(lines: list[str]) -> list[str]:
    """Return what matters of a process's last lines: the end of its last traceback, else simply the end."""
    plain = [part for raw in lines for part in _flat(render_record(raw)) if part.strip()]
    starts = [number for number, line in enumerate(plain) if line.startswith("Traceback (most recent call last)")]
    found = _end_of_traceback(plain[starts[-1] + 1 :]) if starts else plain[-_CAUSE_LINES:]
    return [line if len(line) <= _CAUSE_WIDTH else f"{line[:_CAUSE_WIDTH]}…" for line in found]


def _flat(line: Line) -> list[str]:
    return [line.text, *line.more]


def _end_of_traceback(block: list[str]) -> list[str]:
    """The innermost frames, then the exception, whose text may have several lines."""
    exception = next((number for number, line in enumerate(block) if not line.startswith(" ")), len(block))
    frames = [number for number in range(exception) if block[number].startswith("  File ")]
    first = frames[-_CAUSE_FRAMES:][0] if frames else 0
    return block[first : exception + _CAUSE_LINES]
