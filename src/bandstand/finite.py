"""A search for numbers that JSON can't express.

msgspec writes NaN and infinities as ``null``, and those of ``Decimal`` as text, so a reader would take a fault of the
program for a missing value or a word. Values are therefore searched before they are written as JSON.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

__all__ = ["find_non_finite"]

_LEAVES: Final = frozenset({str, int, bool, type(None), datetime, date, UUID, bytes, bytearray, memoryview})
_ITERABLES: Final = (list, tuple, set, frozenset)


def find_non_finite(value: Any) -> str | None:
    """Return the path of the first number that is not finite, with dots: ``results.3.price``; None where all are.

    The path of ``value`` itself is empty. The function looks into whatever msgspec encodes by itself: dictionaries,
    lists, tuples, sets, structs and dataclasses.
    """
    return _path_in(value) if _is_non_finite(value) else None


def _is_non_finite(value: Any) -> bool:
    """Visit each value once; kept short, since it runs for each answer of a service."""
    kind = type(value)
    if kind in _LEAVES:
        return False
    if kind is float:
        return bool(value - value != 0)  # also of an infinity the difference is NaN
    if kind is Decimal:
        return not value.is_finite()
    for item in _items(value):  # noqa: SIM110 - a generator in each list and dictionary costs as much again
        if type(item) not in _LEAVES and _is_non_finite(item):
            return True
    return False


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, _ITERABLES):
        return value
    plain = _plain(value)
    return plain.values() if isinstance(plain, Mapping) else plain if isinstance(plain, _ITERABLES) else ()


def _path_in(value: Any) -> str:
    plain = value if isinstance(value, (dict, *_ITERABLES)) else _plain(value)
    if isinstance(plain, Mapping):
        named: Iterable[tuple[Any, Any]] = plain.items()
    else:
        named = enumerate(plain) if isinstance(plain, _ITERABLES) else ()
    for name, item in named:
        if _is_non_finite(item):
            return f"{name}.{_path_in(item)}".rstrip(".")
    return ""


def _plain(value: Any) -> Any:
    """Return a struct or dataclass in terms of JSON."""
    return msgspec.to_builtins(value, builtin_types=(Decimal,), enc_hook=lambda _: None)
