"""JSON in, without the parts of JSON that two readers understand in two ways.

After RFC 8259 section 4 (names must be unique), RFC 7493 (I-JSON) and "Parsing JSON is a Minefield": a duplicate key,
NaN, a number with thousands of digits or a lone surrogate is read differently by the next reader, or stops a database.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, NoReturn

__all__ = ["InvalidJSON", "is_too_deep", "read_json"]

MAX_DIGITS: Final = 1000

# The closing quote is optional, so that it always matches and never looks back: an unterminated string of a million
# escaped quotes would otherwise be tried from each of them.
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # 1 and, as a signed byte, -1
_OTHERS: Final = bytes(set(range(256)) - set(b"[]{}"))
_SUSPICIOUS_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_SUSPICIOUS: Final = re.compile("[\x00\ud800-\udfff]")


class InvalidJSON(ValueError):
    """The bytes are refused; ``code`` is the reason for machines, the text one sentence for people."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


def read_json(body: bytes, *, max_depth: int) -> Any:
    """Return the value of a UTF-8 JSON document.

    Raises:
        InvalidJSON: it is no JSON, or it holds what readers do not agree on: duplicate keys, NaN, infinities, numbers
            of more than 1,000 digits, NUL, lone surrogates, or arrays and objects nested deeper than ``max_depth``.
    """
    if is_too_deep(body, max_depth):
        raise InvalidJSON("too_deep", f"The JSON is nested deeper than {max_depth} levels.")
    try:
        value = _decoder.decode(body.decode())
    except UnicodeDecodeError:
        raise InvalidJSON("not_utf8", "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidJSON("malformed_json", f"The body is not JSON: {error.msg} ({where}).") from None
    if _SUSPICIOUS_ESCAPE.search(body) and any(_SUSPICIOUS.search(text) for text in _texts(value)):
        raise InvalidJSON("forbidden_character", "A text holds the character NUL or half a surrogate pair.")
    return value


def is_too_deep(body: bytes, max_depth: int) -> bool:
    """Say whether brackets nest deeper than ``max_depth``; linear in time and without recursion."""
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return False
    steps = memoryview(_STRINGS.sub(b"", body).translate(_STEPS, _OTHERS)).cast("b")
    return max(accumulate(steps), default=0) > max_depth


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidJSON("duplicate_key", f"An object has the key {twice[:64]!r} more than once.")
    return value


def _integer(text: str) -> int:
    _check_length(text)
    return int(text)


def _number(text: str) -> float:
    _check_length(text)
    value = float(text)
    if math.isinf(value):
        raise InvalidJSON("number_out_of_range", "A number is too large.")
    return value


def _check_length(text: str) -> None:
    if len(text) > MAX_DIGITS:
        raise InvalidJSON("number_out_of_range", f"A number has more than {MAX_DIGITS} digits.")


def _constant(text: str) -> NoReturn:
    raise InvalidJSON("malformed_json", f"{text} is not JSON.")


def _texts(value: Any) -> Iterator[str]:
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, dict):
            yield from value
            stack.extend(value.values())


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
