"""Log lines: JSON for machines, a console format for people; neither can be forged or made to speak of secrets."""

import logging
import os
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec
from django.core.exceptions import ImproperlyConfigured

from bandstand.conf import get_settings, wire
from bandstand.context.binding import bound
from bandstand.context.redaction import HIDDEN, escaped, is_secret, masked, may_hold_secret, safe_json, without_secrets
from bandstand.context.values import REQUEST_ATTRIBUTE, Context

__all__ = ["ConsoleFormatter", "JsonFormatter"]

_MAX_TEXT: Final = 8 * 1024  # characters of a message or of one extra field
_MAX_TRACEBACK: Final = 16 * 1024

# What logging itself puts on a record (taskName from Python 3.12 on); everything else came with `extra`.
_STANDARD: Final = {*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "asctime", "message", "taskName"}
# Django adds these two to its own records. They are objects of the running server, not data.
_OMITTED: Final = frozenset(_STANDARD | {"request", "server_time"})
_RESERVED: Final = frozenset(
    {"ts", "level", "logger", "message", "service", "process", "correlation_id", "trace_id", "exception", "stack"}
)


class _Formatter(logging.Formatter):
    """What both formats share."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (0, "")

    def timestamp(self, created: float) -> str:
        """UTC with milliseconds. The part down to the second is made once a second."""
        second, text = self._second
        if second != int(created):
            second, text = int(created), time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
            self._second = (second, text)
        return f"{text}.{int((created - second) * 1000):03d}Z"

    def traceback(self, record: logging.LogRecord) -> str:
        """The traceback, its end if it is long: the cause stands last."""
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return (record.exc_text or "")[-_MAX_TRACEBACK:]


class JsonFormatter(_Formatter):
    """One JSON object on one line for each record, whatever the record holds.

    Fields: ``ts`` (UTC), ``level``, ``logger``, ``message``, ``service``, ``process``, ``correlation_id``,
    ``trace_id``, then what was passed as ``extra``, then ``exception`` and ``stack``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._encoder = msgspec.json.Encoder(enc_hook=_plain)

    def format(self, record: logging.LogRecord) -> str:
        service, process = _origin()
        context = _context(record)
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
            fields["stack"] = record.stack_info[-_MAX_TRACEBACK:]
        line = self._encode(fields)
        if may_hold_secret(line):  # seldom, and then each text is masked by itself, so that the line stays JSON
            line = self._encode(without_secrets(msgspec.json.decode(line)))
        return safe_json(line)

    def _encode(self, fields: dict[str, Any]) -> str:
        try:
            return self._encoder.encode(fields).decode()
        except (TypeError, ValueError, OverflowError, RecursionError):  # a lone surrogate, a key of a strange type
            return self._encoder.encode({_text(name): _text(value) for name, value in fields.items()}).decode()


class ConsoleFormatter(_Formatter):
    """One line for people: time, level, logger, message, extras, the end of the correlation id.

    A traceback follows on lines of its own, each indented, so that no line can pass for a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        context = _context(record)
        fields = _extra(record)
        parts = [self.timestamp(record.created)[11:-1], f"{record.levelname:<7}", record.name]
        if record.name == "bandstand.request":
            fields.pop("route", None)
            parts += [_text(fields.pop(name, None)) for name in ("method", "path", "status", "duration_ms")] + ["ms"]
        else:
            parts.append(_message(record))
        parts += [f"{name}={_text(value)}" for name, value in fields.items() if value is not None]
        if context:
            parts.append(f"[{context.correlation_id[-12:]}]")
        lines = [" ".join(parts), *self._block(record)]
        return masked("\n    | ".join(escaped(line) for line in lines))

    def _block(self, record: logging.LogRecord) -> Iterator[str]:
        yield from self.traceback(record).splitlines()
        yield from (record.stack_info or "")[-_MAX_TRACEBACK:].splitlines()


def _origin() -> tuple[str, str]:
    """Service and process; from the environment as long as the settings can't be read."""
    try:
        settings = get_settings()
    except ImproperlyConfigured:
        return os.environ.get(wire.SERVICE, ""), os.environ.get(wire.PROCESS, "")
    return settings.service, settings.process


def _context(record: logging.LogRecord) -> Context | None:
    """The bound context, or for the lines that Django writes after all middleware, that of their request."""
    return bound() or getattr(record.__dict__.get("request"), REQUEST_ATTRIBUTE, None)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a wrong format string must not lose the record
        message = f"{_plain(record.msg)} (its arguments do not fit: {type(error).__name__})"
    return _shortened(message)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {
        _key(name): HIDDEN if is_secret(name) else without_secrets(value, _shortened)
        for name, value in record.__dict__.items()
        if name not in _OMITTED
    }


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    return f"extra_{name}" if name in _RESERVED else name


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}… ({len(text)} characters)"


def _plain(value: Any) -> str:
    """What msgspec has no JSON for becomes text."""
    if isinstance(value, str):
        return "".join((value,))  # a subclass, as Django's SafeString
    try:
        return _shortened(str(value))
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not lose the record
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _text(value: Any) -> str:
    """Text that every encoding can write: a lone surrogate is shown as its escape."""
    return _plain(value).encode("utf-8", "backslashreplace").decode()
