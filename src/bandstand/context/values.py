"""The context: who asks, for whom, until when."""

import re
import time
from typing import Any, Final, TypeGuard

import msgspec

from bandstand.context.trace import TraceContext, new_span_id, new_trace_id

__all__ = ["REQUEST_ATTRIBUTE", "Context", "is_correlation_id", "new_context"]

REQUEST_ATTRIBUTE: Final = "bandstand_context"
"""Where the middleware leaves a request's context for log lines that are written after it."""

_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")


class Context(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What goes along with a request, message or task through all services; a change is a copy.

    ``correlation_id`` is the same in every service that took part. ``causation_id`` is the id of the message that
    caused this work, if one did. ``deadline`` is in seconds of ``time.monotonic()``, so it is never sent as it is;
    what is sent is the remaining time. ``service`` (who calls) and ``user`` (for whom) are set only once verified.
    ``do_not_retry``: the caller tries again already, so calls made for it are tried once only.
    """

    correlation_id: str
    trace: TraceContext
    causation_id: str | None = None
    deadline: float | None = None
    service: str | None = None
    user: str | None = None
    do_not_retry: bool = False

    def remaining(self) -> float | None:
        """Return the seconds left, at least 0, or None when nobody set a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def expired(self) -> bool:
        """Say whether nobody waits for this work any more."""
        return self.deadline is not None and self.deadline <= time.monotonic()

    def child(self) -> "Context":
        """Return the context of a part of this work: the same but for a new span id."""
        return self.replace(trace=self.trace.child())

    def replace(self, **changes: Any) -> "Context":
        """Return a copy with ``changes``.

        Raises:
            TypeError: a change names no field.
        """
        return msgspec.structs.replace(self, **changes)


def new_context(
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    trace: TraceContext | None = None,
    timeout: float | None = None,
    service: str | None = None,
    user: str | None = None,
    do_not_retry: bool = False,
) -> Context:
    """Return a context for work that begins here; ``timeout`` is in seconds from now.

    A ``correlation_id`` that breaks the rule (8 to 64 letters, digits, ``.``, ``_`` or ``-``) is replaced. ``trace``
    is the operation that caused this one: the new context is its child. Without one a new trace begins, whose id is
    also the correlation id unless one is given.
    """
    if trace is None:
        trace_id = new_trace_id()
        fresh = trace_id
        trace = TraceContext(trace_id=trace_id, span_id=new_span_id())
    else:
        fresh = ""
        trace = trace.child()
    return Context(
        correlation_id=correlation_id if is_correlation_id(correlation_id) else fresh or new_trace_id(),
        causation_id=causation_id,
        trace=trace,
        deadline=None if timeout is None else time.monotonic() + timeout,
        service=service,
        user=user,
        do_not_retry=do_not_retry,
    )


def is_correlation_id(value: str | None) -> TypeGuard[str]:
    """Say whether ``value`` may be logged, echoed and sent on as a correlation id."""
    return value is not None and _CORRELATION_ID.fullmatch(value) is not None
