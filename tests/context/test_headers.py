import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.conf import wire
from bandstand.context import Context, TraceContext, from_headers, is_correlation_id, new_context, to_headers
from bandstand.context.headers import MAX_TIMEOUT, from_environ

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

FORGED = [
    "short",
    "a" * 65,
    "a" * 65536,
    "abcdefgh\r\nSet-Cookie: a=b",
    "abcdefgh\n",
    "\x1b[31mabcdefgh",
    "abcdefgh\x00",
    "abcdéfgh",
    "аbcdefgh",  # the first letter is Cyrillic
    "abcd efgh",
    "abcdefgh,ijklmnop",
    '"},{"level":"ERROR',
    "٠١٢٣٤٥٦٧",
    "",
]


@pytest.mark.parametrize("value", ["abcdefgh", "A-Z_0.9-abc", "0" * 64])
def test_a_correlation_id_by_the_rule_is_kept(value: str) -> None:
    """8 to 64 letters, digits, dots, underscores and dashes are accepted as they are."""
    assert from_headers({wire.CORRELATION_ID: value}).correlation_id == value


@pytest.mark.parametrize("value", FORGED)
def test_a_forged_correlation_id_is_replaced(value: str) -> None:
    """Anything else is replaced by a new one, never shortened or cleaned."""
    made = from_headers({wire.CORRELATION_ID: value}).correlation_id
    assert is_correlation_id(made)
    assert made != value


def test_names_are_compared_without_case() -> None:
    """Header names have no case."""
    context = from_headers({"x-CORRELATION-id": "abcdefgh", "TraceParent": TRACEPARENT})
    assert context.correlation_id == "abcdefgh"
    assert context.trace.trace_id == TRACEPARENT.split("-")[1]


def test_names_with_underscores_are_other_headers() -> None:
    """`X_Correlation_ID` is not `X-Correlation-ID`."""
    context = from_headers({"X_Correlation_ID": "abcdefgh", "X_Request_Timeout_Ms": "1"})
    assert context.correlation_id != "abcdefgh"
    assert context.deadline is None


def test_the_request_is_a_child_of_the_callers_span() -> None:
    """The trace goes on with a span of our own."""
    context = from_headers({"traceparent": TRACEPARENT, "tracestate": "a=1"})
    assert context.trace.trace_id == TRACEPARENT.split("-")[1]
    assert context.trace.span_id != TRACEPARENT.split("-")[2]
    assert context.trace.state == "a=1"


def test_without_headers_a_new_trace_begins() -> None:
    """Each request without headers has ids of its own, and nobody is verified."""
    first, second = from_headers({}), from_headers({})
    assert first.correlation_id != second.correlation_id
    assert first.trace.trace_id != second.trace.trace_id
    assert (first.deadline, first.service, first.user, first.causation_id) == (None, None, None, None)


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [("1500", 1.5), ("0", 0.0), ("000", 0.0), ("3600000", 3600.0), ("3600001", 3600.0), ("9" * 5000, 3600.0)],
)
def test_the_remaining_time_is_read_and_capped(sent: str, seconds: float) -> None:
    """Milliseconds become a deadline of our own clock, at most an hour away."""
    remaining = from_headers({wire.REQUEST_TIMEOUT_MS: sent}).remaining()
    assert remaining is not None
    assert seconds - 1 < remaining <= seconds
    assert remaining <= MAX_TIMEOUT


@pytest.mark.parametrize("sent", ["", "-1", "+5", "1e9", "1.5", "0x10", "1_000", "١٠٠", "100,200", " 5", "abc", "²"])
def test_a_remaining_time_that_is_no_number_is_none(sent: str) -> None:
    """Only ASCII digits count."""
    assert from_headers({wire.REQUEST_TIMEOUT_MS: sent}).deadline is None


def test_what_is_sent_is_read_back() -> None:
    """The callee sees the same correlation id and trace, another span, and less time."""
    context = new_context(correlation_id="abcdefgh", timeout=5).replace(
        trace=TraceContext(trace_id="a" * 32, span_id="b" * 16, flags=1, state="v=1"), service="x", user="y"
    )
    headers = to_headers(context)
    received = from_headers(headers)
    assert received.correlation_id == "abcdefgh"
    assert (received.trace.trace_id, received.trace.flags, received.trace.state) == ("a" * 32, 1, "v=1")
    assert len({context.trace.span_id, headers["traceparent"].split("-")[2], received.trace.span_id}) == 3
    assert 4 < (received.remaining() or 0) <= (context.remaining() or 0) + 0.001
    assert (received.service, received.user) == (None, None)


def test_time_that_is_over_is_sent_as_zero() -> None:
    """A deadline in the past says 0 ms, never a negative number."""
    context = new_context().replace(deadline=time.monotonic() - 10)
    assert to_headers(context)[wire.REQUEST_TIMEOUT_MS] == "0"
    assert context.expired()
    assert context.remaining() == 0


def test_without_a_deadline_none_is_sent() -> None:
    """Only the headers that say something are sent."""
    assert set(to_headers(new_context())) == {wire.CORRELATION_ID, wire.TRACEPARENT}


def test_a_change_is_a_copy() -> None:
    """A context is frozen; replace() leaves the first as it was, and refuses what is no field."""
    context = new_context(correlation_id="abcdefgh")
    changed = context.replace(user="u1")
    assert (context.user, changed.user) == (None, "u1")
    assert context.child().trace.span_id != context.trace.span_id
    assert context.child().replace(trace=context.trace) == context
    with pytest.raises(AttributeError):
        context.user = "u2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        context.replace(users="u1")


@given(
    st.dictionaries(
        st.sampled_from(["x-correlation-id", "traceparent", "tracestate", "x-request-timeout-ms"]), st.text()
    )
)
def test_reading_never_raises(headers: dict[str, str]) -> None:
    """Whatever strangers send, a context comes out whose headers can be sent on, in ASCII and on one line."""
    context = from_headers(headers)
    assert isinstance(context, Context)
    for value in to_headers(context).values():
        assert value.isascii()
        assert value.isprintable()
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    assert (from_environ(environ).deadline is None) == (context.deadline is None)


@pytest.mark.parametrize(("sent", "read"), [("1", True), ("0", False), ("true", False), ("1, 1", False)])
def test_the_mark_of_a_retry_travels(sent: str, read: bool) -> None:
    """Work for a caller that tries again already is known as such, and its own calls say so."""
    received = from_headers({wire.DO_NOT_RETRY: sent})
    assert received.do_not_retry is read
    assert (wire.DO_NOT_RETRY in to_headers(received)) is read
