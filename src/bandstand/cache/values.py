"""Values as JSON that remembers their types."""

import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

__all__ = ["decode", "encode", "encode_stable", "pack"]

# What JSON has no form for is an object with this one key more; an object that has the key itself is packed, too.
_TYPE: Final = "$"
_VALUE: Final = "v"

_BIGGEST: Final = 2**63

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder().decode


def encode(value: Any) -> bytes:
    """Return ``value`` as bytes that :func:`decode` makes the same value of.

    Raises:
        TypeError: the value is, or holds, something that is not data.
    """
    return _encode(pack(value))


def encode_stable(value: Any) -> bytes:
    """Return bytes that are the same for equal values in every process, whatever the order of keys.

    Raises:
        TypeError: as :func:`encode`.
    """
    return _encode_sorted(pack(value))


def decode(data: bytes) -> Any:
    """Return the value.

    Raises:
        ValueError: these are not bytes that :func:`encode` made.
    """
    try:
        return _unpack(_decode(data))
    except (TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a cached value: {type(error).__name__}") from error


def pack(value: Any) -> Any:
    """Return ``value`` in terms of JSON alone."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    packer = _PACKERS.get(kind)
    if packer is not None:
        return packer(value)
    for base in (str, int):  # a lazy mark of safety, a member of an IntEnum: kept as what they are below
        if isinstance(value, base):
            return pack(base(value) if base is int else str.__str__(value))
    raise TypeError(
        f"{kind.__module__}.{kind.__qualname__} can't be kept in the cache: only data can. "
        f"Keep its id, or a dict of what is needed of it."
    )


def _pack_float(value: float) -> Any:
    return value if math.isfinite(value) else {_TYPE: "float", _VALUE: repr(value)}


def _pack_int(value: int) -> Any:
    return value if -_BIGGEST <= value < _BIGGEST else {_TYPE: "int", _VALUE: hex(value)}


def _pack_list(value: list[Any]) -> list[Any]:
    return [item if type(item) in _PLAIN else pack(item) for item in value]


def _pack_dict(value: dict[Any, Any]) -> dict[str, Any]:
    if _TYPE in value or any(type(key) is not str for key in value):
        return {_TYPE: "dict", _VALUE: [[pack(key), pack(item)] for key, item in value.items()]}
    return {key: item if type(item) in _PLAIN else pack(item) for key, item in value.items()}


def _packer(name: str, form: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {_TYPE: name, _VALUE: form(value)}


def _sorted_items(value: set[Any] | frozenset[Any]) -> list[Any]:
    return sorted((pack(item) for item in value), key=_encode_sorted)


def _unpack(value: Any) -> Any:
    if type(value) is dict:
        if _TYPE in value:
            return _UNPACKERS[value[_TYPE]](value[_VALUE])
        for key, item in value.items():
            if type(item) in _CONTAINERS:
                value[key] = _unpack(item)
    elif type(value) is list:
        for index, item in enumerate(value):
            if type(item) in _CONTAINERS:
                value[index] = _unpack(item)
    return value


def _interval(parts: list[int]) -> timedelta:
    days, seconds, microseconds = parts
    return timedelta(days, seconds, microseconds)


_PLAIN: Final = frozenset({str, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list})

_PACKERS: Final[dict[type, Callable[[Any], Any]]] = {
    int: _pack_int,
    float: _pack_float,
    list: _pack_list,
    dict: _pack_dict,
    tuple: _packer("tuple", _pack_list),
    set: _packer("set", _sorted_items),
    frozenset: _packer("frozenset", _sorted_items),
    bytes: _packer("bytes", bytes.hex),
    datetime: _packer("datetime", datetime.isoformat),
    date: _packer("date", date.isoformat),
    time: _packer("time", time.isoformat),
    timedelta: _packer("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: _packer("decimal", str),
    UUID: _packer("uuid", str),
}

_UNPACKERS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": lambda value: int(value, 16),
    "float": float,
    "dict": lambda value: {_hashable(_unpack(key)): _unpack(item) for key, item in value},
    "tuple": lambda value: tuple(_unpack(value)),
    "set": lambda value: set(_unpack(value)),
    "frozenset": lambda value: frozenset(_unpack(value)),
    "bytes": bytes.fromhex,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": _interval,
    "decimal": Decimal,
    "uuid": UUID,
}


def _hashable(value: Any) -> Any:
    hash(value)
    return value
