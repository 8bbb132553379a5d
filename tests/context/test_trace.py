import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.context import TraceContext, parse_traceparent
from bandstand.context.trace import new_span_id, new_trace_id, parse_tracestate

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01"


def test_a_valid_traceparent_is_read() -> None:
    """Version 00 gives trace id, parent id and flags."""
    assert parse_traceparent(VALID) == TraceContext(trace_id=TRACE, span_id=SPAN, flags=1)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",  # version ff is forbidden
        f"0-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-",  # version 00 ends with the flags
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",  # a future version may only go on after a dash
        f"00_{TRACE}_{SPAN}_01",
        f"{VALID},{VALID}",  # sent twice and joined by the server
        f"{VALID}\n",
        f"00-{'٠' * 32}-{SPAN}-01",  # digits, but not ASCII
        "x" * 100_000,
    ],
)
def test_an_invalid_traceparent_is_refused(header: str | None) -> None:
    """What breaks the grammar begins a new trace."""
    assert parse_traceparent(header) is None


@pytest.mark.parametrize("rest", ["", "-", "-what-the-future-will-be"])
def test_a_future_version_is_tolerated(rest: str) -> None:
    """A higher version is read as far as version 00 goes and sent on as version 00."""
    trace = parse_traceparent(f"cc-{TRACE}-{SPAN}-01{rest}")
    assert trace is not None
    assert trace.traceparent == VALID


def test_spaces_around_a_header_do_not_count() -> None:
    """Optional white space around a value belongs to HTTP, not to the value."""
    assert parse_traceparent(f" \t{VALID} ") == parse_traceparent(VALID)


@pytest.mark.parametrize(("sent", "kept"), [("00", 0), ("01", 1), ("02", 2), ("ff", 3), ("fd", 1)])
def test_unknown_flags_are_not_sent_on(sent: str, kept: int) -> None:
    """Only the flags sampled and random are known; a version 00 header carries no other."""
    trace = parse_traceparent(f"00-{TRACE}-{SPAN}-{sent}")
    assert trace is not None
    assert trace.flags == kept


def test_a_child_is_a_new_span_of_the_same_trace() -> None:
    """Trace id, flags and state stay, the span id is new."""
    parent = parse_traceparent(VALID, "a=1")
    assert parent is not None
    child = parent.child()
    assert (child.trace_id, child.flags, child.state) == (parent.trace_id, 1, "a=1")
    assert child.span_id != parent.span_id


def test_new_ids_are_valid() -> None:
    """A header made of new ids is read back as it was."""
    for _ in range(200):
        trace = TraceContext(trace_id=new_trace_id(), span_id=new_span_id())
        assert parse_traceparent(trace.traceparent) == trace


def test_no_span_id_comes_twice() -> None:
    """Ids that were made in advance are given out once, also where two processes began as one."""
    script = """
import os
from bandstand.context.trace import new_span_id
ids = [new_span_id() for _ in range(10)]
child = os.fork()
ids += [new_span_id() for _ in range(200)]
if child:
    os.waitpid(child, 0)  # two that write at the same time may write into each other's lines
print("\\n".join(ids if child else ids[10:]), flush=True)
"""
    ids = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert len(set(ids)) == len(ids) == 410


def test_ids_do_not_depend_on_the_applications_seed() -> None:
    """`random.seed()` somewhere in the application does not make the ids of two processes alike."""
    import random

    random.seed(7)
    first = new_trace_id()
    random.seed(7)
    assert new_trace_id() != first


@pytest.mark.parametrize(
    "state",
    [
        "a=1",
        "a=1,b=2",
        "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        "fw529a3039@dt=FfK3a9,k_-*/=v",
        "0a=!#$%&'()*+./:;<>?",
    ],
)
def test_a_valid_tracestate_is_passed_on(state: str) -> None:
    """Members of other tracers go on as they came."""
    assert parse_tracestate(state) == state


@pytest.mark.parametrize(
    "state",
    [
        "a",
        "=1",
        "a=",
        "A=1",
        "a=1,a=2",  # a key twice
        "a =1",
        "a=\x1b[31m",
        "a=ü",
        f"{'a' * 257}=1",
        f"a={'1' * 257}",
        "a@1b=1",
        "a@b@c=1",
        ",".join(f"k{i}=1" for i in range(33)),
        "a=1,b",  # one wrong member discards the list
        "a=1," * 10_000,
    ],
)
def test_an_invalid_tracestate_is_dropped(state: str) -> None:
    """A list that breaks the grammar or its limits goes no further, and does not harm the trace."""
    assert parse_tracestate(state) == ""
    assert parse_traceparent(VALID, state) == TraceContext(trace_id=TRACE, span_id=SPAN, flags=1)


def test_empty_members_are_left_out() -> None:
    """Empty members are allowed and say nothing."""
    assert parse_tracestate(" a=1 , ,b=2,") == "a=1,b=2"


def test_a_long_tracestate_loses_long_members_first_then_the_last() -> None:
    """At most 512 characters go on: members over 128 characters are dropped first, then those at the end."""
    long = f"long={'x' * 200}"
    short = [f"k{i:02}={'y' * 20}" for i in range(25)]
    kept = parse_tracestate(",".join([short[0], long, *short[1:]])).split(",")
    assert long not in kept
    assert kept == short[: len(kept)]
    assert 480 < len(",".join(kept)) <= 512


@given(st.text(alphabet=string.printable + "é\x1b\ud800", max_size=80), st.text(max_size=80))
def test_parsing_never_raises(header: str, state: str) -> None:
    """Headers are written by strangers: whatever they hold, the answer is a trace or none, and it parses again."""
    for candidate in (header, f"00-{TRACE}-{SPAN}-{header}"):
        trace = parse_traceparent(candidate, state)
        if trace is not None:
            assert parse_traceparent(trace.traceparent, trace.state) == trace
