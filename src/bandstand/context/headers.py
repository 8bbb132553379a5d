"""The context on the wire: what a request brings and what a call takes along."""

from collections.abc import Mapping
from typing import Any, Final

from bandstand.conf import wire
from bandstand.context.trace import parse_traceparent
from bandstand.context.values import Context, new_context

__all__ = ["MAX_TIMEOUT", "from_environ", "from_headers", "to_headers", "to_lines"]

MAX_TIMEOUT: Final = 3600.0
"""Seconds: a longer remaining time than this is cut down to it."""

_MAX_DIGITS: Final = 7  # of milliseconds: more digits than this are more than MAX_TIMEOUT


def _key(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


_ENVIRON: Final = (
    _key(wire.CORRELATION_ID),
    _key(wire.TRACEPARENT),
    _key(wire.TRACESTATE),
    _key(wire.REQUEST_TIMEOUT_MS),
    _key(wire.DO_NOT_RETRY),
)
_ONCE: Final = f"{wire.DO_NOT_RETRY}: 1".encode()
_NAMES: Final = (
    wire.CORRELATION_ID.lower(),
    wire.TRACEPARENT.lower(),
    wire.TRACESTATE.lower(),
    wire.REQUEST_TIMEOUT_MS.lower(),
    wire.DO_NOT_RETRY.lower(),
)


def from_headers(headers: Mapping[str, str]) -> Context:
    """Return the context that ``headers`` ask for; names are compared without case. What is not valid is replaced.

    Never raises: headers are written by strangers. ``service`` and ``user`` are not set, since nothing is verified yet.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    return _context(*(lowered.get(name) for name in _NAMES))


def from_environ(environ: Mapping[str, Any]) -> Context:
    """Do the same with ``request.META``, without the cost of Django's case-insensitive mapping."""
    get = environ.get
    correlation_id, traceparent, tracestate, timeout, once = _ENVIRON
    return _context(get(correlation_id), get(traceparent), get(tracestate), get(timeout), get(once))


def to_headers(context: Context, *, remaining: float | None = None) -> dict[str, str]:
    """Return the headers that go along with a call made now on behalf of ``context``; the call is a new span.

    ``remaining`` is the time that the call has, in seconds, where that is less than what the context has left.
    """
    if remaining is None:
        remaining = context.remaining()
    lines = to_lines(context, remaining, once=context.do_not_retry)
    return dict(line.decode().split(": ", 1) for line in lines)


def to_lines(context: Context, remaining: float | None, *, once: bool) -> list[bytes]:
    """Return the same as lines of HTTP; ``once`` says that the callee must not try again what it can't do."""
    lines = [
        f"{wire.CORRELATION_ID}: {context.correlation_id}".encode(),
        f"{wire.TRACEPARENT}: {context.trace.child_traceparent()}".encode(),
    ]
    if context.trace.state:
        lines.append(f"{wire.TRACESTATE}: {context.trace.state}".encode())
    if remaining is not None:
        lines.append(f"{wire.REQUEST_TIMEOUT_MS}: {int(remaining * 1000)}".encode())
    if once:
        lines.append(_ONCE)
    return lines


def _context(
    correlation_id: str | None,
    traceparent: str | None,
    tracestate: str | None,
    timeout: str | None,
    once: str | None,
) -> Context:
    return new_context(
        correlation_id=correlation_id,
        trace=parse_traceparent(traceparent, tracestate) if traceparent else None,
        timeout=_seconds(timeout) if timeout else None,
        do_not_retry=once == "1",
    )


def _seconds(milliseconds: str) -> float | None:
    """Only digits count: ``-1``, ``1e9``, ``+5`` and two values joined by a comma are as good as none."""
    if not (milliseconds.isascii() and milliseconds.isdigit()):
        return None
    digits = milliseconds.lstrip("0")
    return MAX_TIMEOUT if len(digits) > _MAX_DIGITS else min(MAX_TIMEOUT, int(digits or "0") / 1000)
