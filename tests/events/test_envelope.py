import contextlib
import json
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.context import TraceContext, new_context
from bandstand.events import Event
from bandstand.events.envelope import decode, encode, uuid7
from bandstand.exceptions import InvalidEvent


class Paid(Event, type="order.paid", version=2):
    order_id: UUID
    amount: Decimal
    note: str = ""


CONTEXT = new_context(
    correlation_id="correlation-1",
    causation_id="cause-1",
    trace=TraceContext(trace_id="a" * 32, span_id="b" * 16, flags=1, state="vendor=1"),
)
EVENT = Paid(order_id=UUID(int=5), amount=Decimal("19.90"))


def body(**changes: object) -> bytes:
    """Return a valid message with ``changes``; None removes an attribute."""
    attributes = {"specversion": "1.0", "id": "1", "source": "a", "type": "order.paid", "data": {}} | changes
    return json.dumps({name: value for name, value in attributes.items() if value is not None}).encode()


def test_the_wire_is_cloudevents() -> None:
    """An event travels as a CloudEvent 1.0 in JSON with the extensions that the design names."""
    sent = json.loads(encode(EVENT, id="1", source="order-service", key="5", context=CONTEXT))
    time_ = datetime.fromisoformat(sent.pop("time"))
    traceparent = sent.pop("traceparent")
    assert sent == {
        "specversion": "1.0",
        "id": "1",
        "source": "order-service",
        "type": "order.paid",
        "datacontenttype": "application/json",
        "dataschema": "bandstand:order.paid/2",
        "partitionkey": "5",
        "correlationid": "correlation-1",
        "causationid": "cause-1",
        "tracestate": "vendor=1",
        "data": {"order_id": str(UUID(int=5)), "amount": "19.90", "note": ""},
    }
    assert abs((datetime.now(UTC) - time_).total_seconds()) < 5
    assert re.fullmatch(f"00-{'a' * 32}-[0-9a-f]{{16}}-01", traceparent)
    assert CONTEXT.trace.span_id not in traceparent, "an event is a span of its own"


def test_what_is_written_can_be_read() -> None:
    """The message says all that the event's attributes said."""
    message, data = decode(encode(EVENT, id="1", source="order-service", key="5", context=CONTEXT))
    assert (message.id, message.type, message.version, message.source, message.key) == (
        "1",
        "order.paid",
        2,
        "order-service",
        "5",
    )
    assert (message.correlation_id, message.causation_id) == ("correlation-1", "cause-1")
    assert message.trace is not None
    assert message.trace.trace_id == CONTEXT.trace.trace_id
    assert json.loads(data)["amount"] == "19.90"


def test_a_stranger_s_event_needs_only_what_the_standard_requires() -> None:
    """A CloudEvent without our extensions is read, with version 1 and no key."""
    message, _ = decode(body(unknown="ignored", dataschema="https://example.com/schema"))
    assert (message.version, message.key, message.correlation_id, message.trace) == (1, "", None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        body(id=None),
        body(id=""),
        body(id="x" * 201),
        body(id="a\x00b"),
        body(id=5),
        body(source=None),
        body(type=None),
        body(type="a\nb"),
        body(partitionkey="\x00"),
        body(specversion="0.3"),
        body(time="yesterday"),
        body(time="2026-01-01T00:00:00"),
        body(dataschema="bandstand:order.paid/x"),
        body(dataschema="bandstand:order.paid/99999999999"),
        body(dataschema="bandstand:another.type/1"),
        body().replace(b'"data": {}', b'"data": {'),
        body().replace(b'"1.0"', b'"\\ud800"'),
    ],
)
def test_what_is_no_event_is_refused(wrong: bytes) -> None:
    """Whatever a stranger puts into a message, reading it ends in InvalidEvent and nothing else."""
    with pytest.raises(InvalidEvent):
        decode(wrong)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Random bytes never raise anything but InvalidEvent."""
    with contextlib.suppress(InvalidEvent):
        decode(data)


def test_an_event_without_json_form_is_refused() -> None:
    """A lone surrogate can't travel, and is refused where it can still be repaired."""
    with pytest.raises(InvalidEvent, match="can't be written as JSON"):
        encode(
            Paid(order_id=UUID(int=1), amount=Decimal(1), note="\ud800"), id="1", source="a", key="k", context=CONTEXT
        )


class Measured(Event, type="room.measured", version=1):
    room: str
    values: list[float | None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_does_not_travel_as_a_missing_one(value: float) -> None:
    """JSON has no NaN; null, which the class may allow, would mean something else."""
    with pytest.raises(InvalidEvent, match=r"the value at values\.1 is NaN or infinite"):
        encode(Measured(room="a", values=[None, value]), id="1", source="a", key="k", context=CONTEXT)


def test_ids_are_uuids_of_version_seven_in_order_of_time() -> None:
    """Ids made later sort later, down to parts of a millisecond, and carry version and variant of RFC 9562."""
    ids = []
    for _ in range(50):
        ids.append(uuid7())
        time.sleep(0.000_01)
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert {UUID(each).version for each in ids} == {7}
    assert {UUID(each).variant for each in ids} == {"specified in RFC 4122"}
    assert abs((UUID(ids[0]).int >> 80) / 1000 - time.time()) < 5
