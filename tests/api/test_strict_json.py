import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandstand.api.strict_json import InvalidJSON, is_too_deep, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(JSON.filter(lambda value: "\\u0000" not in json.dumps(value)), st.booleans())
def test_what_is_json_is_read(value: Any, escaped: bool) -> None:
    """As Python's own reader reads it, with characters escaped or not."""
    body = json.dumps(value, ensure_ascii=escaped).encode()
    assert read_json(body, max_depth=64) == value


REFUSED = [
    (b"", "malformed_json"),
    (b"   ", "malformed_json"),
    (b"{", "malformed_json"),
    (b"{'a':1}", "malformed_json"),
    (b'{"a":1,}', "malformed_json"),
    (b'{"a":1}{"b":2}', "malformed_json"),
    (b"NaN", "malformed_json"),
    (b"[Infinity]", "malformed_json"),
    (b"-Infinity", "malformed_json"),
    (b"01", "malformed_json"),
    (b"+1", "malformed_json"),
    (b"0x10", "malformed_json"),
    (b"\xef\xbb\xbf{}", "malformed_json"),
    (b'"\x00"', "malformed_json"),
    (b'"tab\there"', "malformed_json"),
    (b"{} // comment", "malformed_json"),
    (b'{"a":1,"a":2}', "duplicate_key"),
    (b'{"a":1,"\\u0061":2}', "duplicate_key"),
    (b'[{"x":{"a":1,"a":1}}]', "duplicate_key"),
    (b"1e999", "number_out_of_range"),
    (b"[-1e999]", "number_out_of_range"),
    (b"9" * 1001, "number_out_of_range"),
    (b"-" + b"9" * 1001, "number_out_of_range"),
    (b"9" * 5000, "number_out_of_range"),
    (b"0." + b"1" * 5000, "number_out_of_range"),
    (b"1e" + b"9" * 5000, "number_out_of_range"),
    (b'"\\u0000"', "forbidden_character"),
    (b'{"\\u0000":1}', "forbidden_character"),
    (b'"\\ud800"', "forbidden_character"),
    (b'["\\udfff x"]', "forbidden_character"),
    (b'{"a":{"b":["\\uD83D"]}}', "forbidden_character"),
    (b'"\xff"', "not_utf8"),
    (b'"\xed\xa0\x80"', "not_utf8"),
    ('{"a":"ü"}'.encode("utf-16"), "not_utf8"),
    ('{"a":"ü"}'.encode("latin-1"), "not_utf8"),
    (b"[" * 65 + b"]" * 65, "too_deep"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep"),
    (b"[" * 100_000, "too_deep"),
]


@pytest.mark.parametrize(("body", "code"), REFUSED, ids=lambda value: repr(value)[:30])
def test_what_readers_do_not_agree_on_is_refused(body: bytes, code: str) -> None:
    """Each with the reason as a code, and a text that a person can act on."""
    with pytest.raises(InvalidJSON) as caught:
        read_json(body, max_depth=64)
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 64 + b"]" * 64,
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b'"' + b"[{" * 1000 + b'"',
        b'["' + b'\\"[' * 1000 + b'"]',
        b"[" + b",".join([b"[[1]]"] * 1000) + b"]",
        b'"\\ud83d\\ude00"',
        b'"\\\\u0000"',
        b'"\\\\ud800"',
        b"9" * 1000,
        b"9223372036854775808",
        b'{"a":1,"A":2}',
        b' {"a" : [ 1 , 2 ] } \n',
        '"\U0001f600\u2028"'.encode(),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_only_looks_like_it_is_read(body: bytes) -> None:
    """Depth is counted outside of texts, an escaped backslash is no escape, a pair of surrogates is a character."""
    assert read_json(body, max_depth=64) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b"[" * 500_000 + b"]" * 500_000,
        b'{"a":' * 150_000,
        b'"' + b'\\"' * 500_000,
        b'["' * 300_000,
        b"[]" * 500_000,
        b"[" + b"[],{}," * 150_000 + b"1]",
    ],
    ids=lambda value: repr(value)[:20],
)
def test_depth_is_never_told_in_quadratic_time(body: bytes) -> None:
    """A megabyte that wants to be expensive is not: what grows with the square of its length would take minutes."""
    began = time.process_time()
    is_too_deep(body, 64)
    assert time.process_time() - began < 10


def test_a_hundred_thousand_levels_are_refused() -> None:
    """The attack of the fault table is refused before anything is built of it."""
    with pytest.raises(InvalidJSON, match="64 levels"):
        read_json(b"[" * 100_000, max_depth=64)
