"""Log lines: JSON for machines, a console format for people; neither can be forged or made to speak of secrets."""

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bandstand.conf import get_settings, wire
from bandstand.context.binding import bound
from bandstand.exceptions import ConfigurationError

__all__ = ["ConsoleFormatter", "JsonFormatter"]

MAX_MESSAGE: Final = 8 * 1024
MAX_TRACEBACK: Final = 16 * 1024
_HIDDEN: Final = "***"

# What logging itself puts on a record (taskName from Python 3.12 on); everything else came with `extra`.
_STANDARD: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "asctime",
    "message",
    "taskName",
}
_RESERVED: Final = frozenset(
    {"ts", "level", "logger", "message", "service", "process", "correlation_id", "trace_id", "exception", "stack"}
)
# Django adds these to its own records. They are objects of the running server, not data.
_OBJECTS: Final = frozenset({"request", "server_time"})

_SECRET_NAME: Final = re.compile(
    r"passw|secret|token|authorization|cookie|api_?key|private_?key|credential|\bdsn\b", re.IGNORECASE
)
_URL_PASSWORD: Final = re.compile(r"(://[^\s/:@\"]*:)[^\s/@\"]+@")
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*")

# JSON escapes what is below U+0020. These would still reach a terminal or a log viewer: DEL and C1 controls, line and
# paragraph separators, and the marks that turn the direction of text ("Trojan Source").
_UNSAFE: Final = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class _Formatter(logging.Formatter):
    """What both formats share."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (0, "")
        self._origin: tuple[str, str] | None = None

    def timestamp(self, created: float) -> str:
        """UTC with milliseconds. The part down to the second is made once a second."""
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}Z"

    def origin(self) -> tuple[str, str]:
        """Service and process; from the environment as long as the settings can't be read."""
        if self._origin is None:
            try:
                settings = get_settings()
            except ConfigurationError:
                return os.environ.get(wire.SERVICE, ""), os.environ.get(wire.PROCESS, "")
            self._origin = (settings.service, settings.process)
        return self._origin

    def traceback(self, record: logging.LogRecord) -> str:
        """The traceback, its end if it is long: the cause stands last."""
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return (record.exc_text or "")[-MAX_TRACEBACK:]


class JsonFormatter(_Formatter):
    """One JSON object on one line for each record, whatever the record holds.

    Fields: ``ts`` (UTC), ``level``, ``logger``, ``message``, ``service``, ``process``, ``correlation_id``,
    ``trace_id``, then what was passed as ``extra``, then ``exception`` and ``stack``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._encoder = msgspec.json.Encoder(enc_hook=_plain)

    def format(self, record: logging.LogRecord) -> str:
        service, process = self.origin()
        context = bound()
        fields: dict[str, Any] = {
            "ts": self.timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "service": service,
            "process": process,
            "correlation_id": context.correlation_id if context else None,
            "trace_id": context.trace.trace_id if context else None,
        }
        fields.update(_extra(record))
        if record.exc_info or record.exc_text:
            fields["exception"] = self.traceback(record)
        if record.stack_info:
            fields["stack"] = record.stack_info[-MAX_TRACEBACK:]
        return _safe(self._encode(fields))

    def _encode(self, fields: dict[str, Any]) -> str:
        try:
            return self._encoder.encode(fields).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):  # a lone surrogate, a key of a strange type
            return self._encoder.encode({name: _printable(value) for name, value in fields.items()}).decode()


class ConsoleFormatter(_Formatter):
    """One line for people: time, level, logger, message, extras, the end of the correlation id.

    A traceback follows on lines of its own, each indented, so that no line can pass for a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        context = bound()
        parts = [
            self.timestamp(record.created)[11:-1],
            f"{record.levelname:<7}",
            record.name,
            _message(record),
            *(f"{name}={_printable(value)}" for name, value in _extra(record).items() if value is not None),
        ]
        if context:
            parts.append(f"[{context.correlation_id[-12:]}]")
        lines = [" ".join(parts), *self._block(record)]
        return _masked("\n    | ".join(_escaped(line) for line in lines))

    def _block(self, record: logging.LogRecord) -> Iterator[str]:
        yield from self.traceback(record).splitlines()
        yield from (record.stack_info or "")[-MAX_TRACEBACK:].splitlines()


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong format string must not lose the record
        message = f"{record.msg!s} (arguments {record.args!r} do not fit: {error})"
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "…"


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in record.__dict__.items():
        if name in _STANDARD or name in _OBJECTS:
            continue
        key = f"extra_{name}" if name in _RESERVED else name
        fields[key] = _HIDDEN if _SECRET_NAME.search(name) else _without_secrets(value)
    return fields


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _HIDDEN if isinstance(key, str) and _SECRET_NAME.search(key) else _without_secrets(item)
            for key, item in value.items()
        }
    return value


def _plain(value: Any) -> Any:
    """What msgspec has no JSON for becomes text."""
    if isinstance(value, str):
        return "".join((value,))  # a subclass, as Django's SafeString
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not lose the record
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _printable(value: Any) -> str:
    text = value if type(value) is str else str(_plain(value))
    return text.encode("utf-8", "backslashreplace").decode()


def _safe(line: str) -> str:
    if not line.isascii() or "\x7f" in line:
        line = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)
    return _masked(line)


def _escaped(text: str) -> str:
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], text)


def _masked(line: str) -> str:
    if "://" in line:
        line = _URL_PASSWORD.sub(rf"\1{_HIDDEN}@", line)
    if "eyJ" in line:
        line = _JWT.sub(_HIDDEN, line)
    return line
