"""What clients send that are broken, lost or hostile: the data behind ``bandstand.testing.bad_input``.

- ``BODIES``: whole bodies that fit no endpoint. ``VALUES``: what stands in the place of a value of a good body, as JSON
  writes it. ``TYPES``: content types.
- ``QUERIES`` and ``QUERY_VALUES``, ``PATH_VALUES``: as they stand in a URL.
- ``HEADER_VALUES``: as WSGI gives them, one character for each byte.
"""

from typing import Final

__all__ = ["BODIES", "HEADER_VALUES", "PATH_VALUES", "QUERIES", "QUERY_VALUES", "TYPES", "VALUES"]

_DEEP: Final = 100_000
_LONG: Final = 200_000
_TOO_LARGE: Final = 1_100_000  # bytes; the limit is 1 MiB

BODIES: Final[dict[str, bytes]] = {
    "nothing": b"",
    "white space": b" \r\n\t",
    "half an object": b'{"a": "b',
    "two objects": b"{}{}",
    "a list": b"[]",
    "a list of objects": b'[{"a": 1}]',
    "null": b"null",
    "a text": b'"text"',
    "a number": b"1",
    "an empty object": b"{}",
    "no JSON": b"a=1&b=2",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a NUL byte": b'{"a": "b\x00c"}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": "b"}'.encode("utf-16"),
    "UTF-32": '{"a": "b"}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"a": "b"}',
    "a deep list": b"[" * _DEEP,
    "a deep object": b'{"a":' * _DEEP,
    "a deep object that ends": b'{"a":' * 2000 + b"1" + b"}" * 2000,
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(10_000)) + b"}",
    "odd keys": b'{"": 1, "\\u0000": 2, "__class__": 3, "\\ud800": 4, "constructor": {"prototype": {}}}',
    "too large": b'{"a": "' + b"x" * _TOO_LARGE + b'"}',
}

VALUES: Final[dict[str, str]] = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "minus one": "-1",
    "a fraction": "1.5",
    "no number": "NaN",
    "an infinite number": "1e999",
    "a small infinite number": "-1e999",
    "a tiny number": "1e-999",
    "5,000 digits": "9" * 5000,
    "5,000 decimal places": "0." + "9" * 5000,
    "int32 and one": "2147483648",
    "int64 and one": "9223372036854775808",
    "int64 below": "-9223372036854775809",
    "an empty text": '""',
    "white space": '"  \\t"',
    "a NUL": '"\\u0000"',
    "a NUL inside": '"a\\u0000b"',
    "half a surrogate": '"\\ud800"',
    "swapped surrogates": '"\\udfff\\ud800"',
    "control characters": '"a\\u0007\\u001b[31m\\u202e"',
    "a new header": '"a\\r\\nSet-Cookie: b=c"',
    "a long text": '"' + "x" * _LONG + '"',
    "a long word of 4 bytes each": '"' + "𝔘" * 5000 + '"',
    "a text that is no number": '"NaN"',
    "an infinite text": '"-Infinity"',
    "a number in words of Python": '"1_000"',
    "a number in Arabic": '"٣"',
    "a number with an exponent": '"1e5"',
    "a number with a large exponent": '"1e999999999"',
    "an odd day": '"0000-00-00T00:00:00Z"',
    "a far day": '"99999-12-31"',
    "an id of nobody": '"00000000-0000-0000-0000-000000000000"',
    "an id with braces": '"{00000000-0000-0000-0000-000000000000}"',
    "SQL": '"\'; DROP TABLE users; --"',
    "a path": '"../../../../etc/passwd"',
    "a format": '"%s%n{0.__class__}${7*7}{{7*7}}"',
    "a list": "[]",
    "a list in a list": "[[]]",
    "a long list": "[" + ",".join("1" for _ in range(2000)) + "]",
    "an object": "{}",
    "an object in an object": '{"a": {"b": null}}',
    "a wrong pair": '{"$ne": null}',
}

TYPES: Final = (
    "application/json; charset=utf-16",
    "application/json; charset=nonsense",
    "application/json, text/plain",
    "application/merge-patch+json",
    "application/xml",
    "text/plain",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "nonsense",
    "/",
    "",
)

QUERY_VALUES: Final = (
    "", "abc", "0", "-1", "1.5", "1e9", "1e999", "-1e999", "1e999999999", "NaN", "sNaN", "Infinity", "null", "true",
    "99999999999999999999", "9" * 5000, "0." + "9" * 5000, "%00", "a%00b", "%ff", "%c3%28", "%ed%a0%80", "%F0%9F%98%80",
    "%0d%0aSet-Cookie:%20a=b", "%25", "%", "%zz", "+", "%20", "x" * 5000, "%27%22%5c%25_", "%D9%A3", "%E2%80%AE",
    "1,2", ",,,", ",".join(["x"] * 500), "00000000-0000-0000-0000-000000000000", "../../etc/passwd", "__class__",
    "password", "-password", "-", "--", "?", "[]", "{}", "2024-02-30", "99999-01-01",
)  # fmt: skip
QUERIES: Final = ("%00=1", "%ff=1", "[]=1", "=", "&&&", "=&=", "a" * 5000, "a=1" + "&a=1" * 2000, "?", "%")

PATH_VALUES: Final = (
    "0", "-1", "abc", "nil", "%00", "a%00b", "%ff", "%ed%a0%80", "%2e%2e", "%2f", "%5c", "%0a", "x" * 3000, "9" * 500,
    "00000000-0000-0000-0000-00000000000", "00000000000000000000000000000000", "{00000000-0000-0000-0000-000000000000}",
    "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "*", "'", "%3Cscript%3E", " ",
)  # fmt: skip

HEADER_VALUES: Final = (
    "", " ", ",", ";", "=", "\x00", "a\x00b", "\x7f", "\x1b[31m", "\t", "é", "\xff\xfe", "a" * 255, "a" * 256,
    "a" * 8000, "a, b", '"', '""', '"a', "'", "*", "*/*;q=x", "-1", "1e999", "9" * 5000, "Bearer", "Bearer ", "Basic x",
    "null", "undefined", "Bearer " + "a." * 3000, "%00", "\u00a0",
)  # fmt: skip
