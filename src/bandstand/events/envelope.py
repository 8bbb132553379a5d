"""The event on the wire: CloudEvents 1.0, JSON format, structured mode.

Extension attributes: ``partitionkey`` (Partitioning), ``traceparent`` and ``tracestate`` (Distributed Tracing), and
our ``correlationid`` and ``causationid``. ``dataschema`` names type and version: ``bandstand:user.created/1``.
"""

import os
import random
import time
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bandstand.context import Context, TraceContext, new_context, parse_traceparent
from bandstand.events.event import Event
from bandstand.exceptions import InvalidEvent
from bandstand.finite import find_non_finite

__all__ = ["Envelope", "Message", "decode", "enclose", "encode", "encode_data", "uuid7"]

Word = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What goes into a column has an end and no control characters; PostgreSQL would refuse the row for ever."""

_SCHEMA: Final = "bandstand:"
_random: Final = random.Random()  # noqa: S311 - not for secrets; a fifth of what the kernel's costs
os.register_at_fork(after_in_child=_random.seed)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes that we read and write; others are ignored, as the specification asks."""

    specversion: str
    id: Word
    source: Word
    type: Word
    time: Annotated[datetime, Meta(tz=True)] | UnsetType | None = UNSET
    datacontenttype: str | UnsetType | None = UNSET
    dataschema: str | UnsetType | None = UNSET
    partitionkey: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | UnsetType | None = UNSET
    correlationid: str | UnsetType | None = UNSET
    causationid: str | UnsetType | None = UNSET
    traceparent: str | UnsetType | None = UNSET
    tracestate: str | UnsetType | None = UNSET
    data: msgspec.Raw = msgspec.Raw(b"null")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler may ask about the event it handles.

    ``id`` is the same at each repetition, so it serves as an idempotency key for effects outside the database.
    ``source`` is the service that published it, ``time`` when (UTC), ``key`` what it is ordered by, ``attempt`` how
    often this subscription has begun to handle it, from 1.
    """

    id: str
    type: str
    version: int
    source: str
    time: datetime
    key: str
    correlation_id: str | None
    causation_id: str | None = None
    trace: TraceContext | None = None
    attempt: int = 1

    def context(self, timeout: float | None = None) -> Context:
        """Return the context of the work that this event causes, for at most ``timeout`` seconds.

        A handler runs in it already; one that takes batches binds it for each event:
        ``with bandstand.context.bind(message.context()): publish(…)``.
        """
        return new_context(correlation_id=self.correlation_id, causation_id=self.id, trace=self.trace, timeout=timeout)


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Envelope)


def uuid7() -> str:
    """Return a new time-ordered UUID (RFC 9562 version 7; fractions of a millisecond in ``rand_a``, its method 3)."""
    millisecond, fraction = divmod(time.time_ns(), 1_000_000)
    value = millisecond << 80 | 0x7 << 76 | (fraction * 4096 // 1_000_000) << 64 | 0b10 << 62 | _random.getrandbits(62)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def encode(event: Event, *, id: str, source: str, key: str, context: Context) -> bytes:  # noqa: A002 - its own name
    """Return ``event`` as it travels, caused by the work of ``context``.

    Raises:
        InvalidEvent: a field has no JSON form.
    """
    kind = type(event)
    data = encode_data(event, kind.__name__)
    return enclose(
        data, type=kind.__event_type__, version=kind.__event_version__, id=id, source=source, key=key, context=context
    )


def encode_data(value: object, name: str) -> bytes:
    """Return ``value`` as JSON; ``name`` is what an error calls it.

    Raises:
        InvalidEvent: a part of it has no JSON form.
    """
    try:
        encoded = _encoder.encode(value)
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError, of a lone surrogate, is a ValueError
        raise InvalidEvent(f"{name} can't be written as JSON: {error}") from error
    path = find_non_finite(value)
    if path is not None:
        raise InvalidEvent(f"{name} can't be written as JSON: the value at {path or 'its top'} is NaN or infinite")
    return encoded


def enclose(
    data: bytes,
    *,
    type: str,  # noqa: A002 - its own name
    version: int,
    id: str,  # noqa: A002 - its own name
    source: str,
    key: str,
    context: Context,
) -> bytes:
    """Return an event with these ``data``, which are JSON, as it travels."""
    trace = context.trace.child()
    return _encoder.encode(
        Envelope(
            specversion="1.0",
            id=id,
            source=source,
            type=type,
            time=datetime.now(UTC),
            datacontenttype="application/json",
            dataschema=f"{_SCHEMA}{type}/{version}",
            partitionkey=key,
            correlationid=context.correlation_id,
            causationid=context.causation_id or UNSET,
            traceparent=trace.traceparent,
            tracestate=trace.state or UNSET,
            data=msgspec.Raw(data),
        )
    )


def decode(body: bytes) -> tuple[Message, bytes]:
    """Return what ``body`` says about the event, and its data, not yet decoded.

    Raises:
        InvalidEvent: it is not a CloudEvent of version 1.0 in JSON.
    """
    try:
        envelope = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(f"The message is not a CloudEvent in JSON: {error}") from error
    if envelope.specversion != "1.0":
        raise InvalidEvent(f"The message has specversion {envelope.specversion!r}; only '1.0' is known.")
    return _message(envelope), bytes(envelope.data)


def _message(envelope: Envelope) -> Message:
    traceparent = envelope.traceparent or None
    return Message(
        id=envelope.id,
        type=envelope.type,
        version=_version(envelope),
        source=envelope.source,
        time=envelope.time or datetime.now(UTC),
        key=envelope.partitionkey or "",
        correlation_id=envelope.correlationid or None,
        causation_id=envelope.causationid or None,
        trace=parse_traceparent(traceparent, envelope.tracestate or None),
    )


def _version(envelope: Envelope) -> int:
    """The version that ``dataschema`` names. A publisher that names none, not being one of ours, has version 1."""
    if not envelope.dataschema or not envelope.dataschema.startswith(_SCHEMA):
        return 1
    name, _, version = envelope.dataschema.removeprefix(_SCHEMA).rpartition("/")
    if name != envelope.type or not (version.isascii() and version.isdigit() and len(version) < 10):
        raise InvalidEvent(f"The dataschema {envelope.dataschema!r} does not name a version of {envelope.type}.")
    return int(version)
