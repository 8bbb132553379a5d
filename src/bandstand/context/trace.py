"""W3C Trace Context (Recommendation of 2021, with the random flag of Level 2): who belongs to which trace.

Without OpenTelemetry nothing is recorded; the ids still travel, so that logs of all services can be joined and a
tracer in front or behind sees one unbroken trace.
"""

import os
import random
import re
from typing import Final

import msgspec

__all__ = ["TraceContext", "new_span_id", "new_trace_id", "parse_traceparent", "parse_tracestate"]

# Ids need to be unique, not secret. A generator of our own costs a tenth of os.urandom and is deaf to
# `random.seed()` in the application; a forked child seeds it anew, or parent and child would make the same ids.
_random: Final = random.Random()  # noqa: S311 - not for secrets
os.register_at_fork(after_in_child=_random.seed)
_bits: Final = _random.getrandbits

# Span ids are made many at a time: one alone costs as much as ten, since each call needs only one.
_BATCH: Final = 64
_spans: Final[list[str]] = []
os.register_at_fork(after_in_child=_spans.clear)

_FLAGS: Final = tuple(f"{flags:02x}" for flags in range(256))

_SAMPLED_AND_RANDOM: Final = 0x03  # the flags that a version 00 header may carry; all others must be sent as 0
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MAX_TRACEPARENT: Final = 512

_MEMBER: Final = re.compile(
    r"(?P<key>[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MAX_MEMBERS: Final = 32
_MAX_STATE: Final = 512  # characters that every participant must be able to pass on
_LONG_MEMBER: Final = 128  # what is dropped first when the whole is too long
_MAX_STATE_READ: Final = 8192


class TraceContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One operation in a trace: 32 and 16 lower-case hex digits, the flags, and ``tracestate`` as it goes on."""

    trace_id: str
    span_id: str
    flags: int = 0
    state: str = ""

    def child(self) -> "TraceContext":
        """Return the context of an operation that this one causes: same trace, new span."""
        return TraceContext(trace_id=self.trace_id, span_id=new_span_id(), flags=self.flags, state=self.state)

    def child_traceparent(self) -> str:
        """Return the header of a new :meth:`child`, which nobody needs but its callee."""
        return f"00-{self.trace_id}-{new_span_id()}-{_FLAGS[self.flags]}"

    @property
    def traceparent(self) -> str:
        """The header that names this operation as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{_FLAGS[self.flags]}"


def new_trace_id() -> str:
    """Return 32 hex digits, never all zero."""
    return f"{_bits(128) or 1:032x}"


def new_span_id() -> str:
    """Return 16 hex digits, never all zero."""
    try:
        return _spans.pop()
    except IndexError:
        digits = f"{_bits(64 * _BATCH):0{16 * _BATCH}x}"
        made = [digits[at : at + 16] for at in range(0, len(digits), 16)]
        _spans.extend(made[1:])
        return made[0]


def parse_traceparent(header: str | None, state: str | None = None) -> TraceContext | None:
    """Return the caller's operation, or None when the header is absent or not valid, and a new trace must begin.

    A future version is read as far as version 00 goes (W3C Trace Context, "Versioning of traceparent"); version ff
    and ids of zeros are refused. ``tracestate`` is not looked at unless ``traceparent`` is valid.
    """
    if not header or len(header) > _MAX_TRACEPARENT:
        return None
    match = _TRACEPARENT.fullmatch(header.strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(
        trace_id=trace_id,
        span_id=span_id,
        flags=int(flags, 16) & _SAMPLED_AND_RANDOM,
        state=parse_tracestate(state) if state else "",
    )


def parse_tracestate(header: str) -> str:
    """Return the list as it may be passed on: empty when any member is not valid, at most 32 members, 512 characters.

    A longer list loses members of more than 128 characters first, then those at the end (section 3.3.1.5).
    """
    if len(header) > _MAX_STATE_READ:
        return ""
    members = [member for part in header.split(",") if (member := part.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {match["key"] for match in matches if match}
    if len(members) > _MAX_MEMBERS or len(keys) != len(members):  # too many, not valid, or a key twice
        return ""
    return _shortened(members)


def _shortened(members: list[str]) -> str:
    state = ",".join(members)
    if len(state) <= _MAX_STATE:
        return state
    members = [member for member in members if len(member) <= _LONG_MEMBER]
    while len(state := ",".join(members)) > _MAX_STATE:
        members.pop()
    return state
