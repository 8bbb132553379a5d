"""Values as JSON that remembers their types: each comes back as exactly what it was, or is refused."""

import dataclasses
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.utils.functional import Promise
from django.utils.safestring import SafeString

__all__ = ["NotData", "Tagged", "decode", "encode", "encode_stable", "is_declarable", "name_of_class", "pack"]

# What JSON has no form for is an object with this one key more; an object that has the key itself is packed, too.
_TYPE: Final = "$"
_VALUE: Final = "v"

_BIGGEST: Final = 2**63
_MICROSECOND: Final = timedelta(microseconds=1)

_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder().decode


class NotData(TypeError):
    """A value can't be kept; ``name`` is the full name of its class."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name} can't be kept in the cache{reason}")


class Tagged:
    """An instance of a declared class in terms of data: the name of the class, and its state."""

    def __init__(self, name: str, state: Any) -> None:
        self.name = name
        self.state = state


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
    raise _refusal(value)


def is_declarable(cls: type[Any]) -> bool:
    """Return whether instances of ``cls`` can be kept once it is declared."""
    if issubclass(cls, Enum):
        return bool(cls.__members__)
    return dataclasses.is_dataclass(cls) or _is_struct(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def name_of_class(cls: type[Any]) -> str:
    """Return the full name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _refusal(value: Any) -> NotData:
    """Return the error that explains why a value can't be kept, and what to do."""
    kind = type(value)
    name = name_of_class(kind)
    if isinstance(value, tzinfo):
        return NotData(name, f": the zone {value} has no name to find it by. Use zoneinfo.ZoneInfo, or convert to UTC.")
    if is_declarable(kind):
        return NotData(
            name,
            f" unless it is declared, since it would come back as something else: name it in the return annotation of "
            f"the function (`-> {kind.__name__}`) or in DistributedCache(…, types=[{kind.__name__}]). Or keep data "
            f"instead, such as the value of an enumeration.",
        )
    if isinstance(value, Promise):
        return NotData(name, ": a lazy text is another one in each language. Keep str(…) of it; only data can be kept.")
    for base in (str, int, float, bytes, dict, list, tuple, set, datetime, date):
        if isinstance(value, base):
            return NotData(
                name, f": it would come back as a plain {base.__name__}. Make it one; only data can be kept."
            )
    return NotData(name, ": only data can. Keep its id, or a dict of what is needed of it.")


def _is_struct(cls: type[Any]) -> bool:
    return issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct


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


def _clock_state(value: datetime | time) -> Any:
    """Return the text of a time; with its zone and fold, where the text alone does not give them."""
    zone = _pack_zone(value.tzinfo)
    if zone is None and not value.fold:
        return value.isoformat()
    local = value if zone is None else value.replace(tzinfo=None)
    return [local.isoformat(), zone, value.fold]


def _pack_zone(zone: tzinfo | None) -> Any:
    """Return the state of a zone; None for none and for a nameless offset, which the text of the time contains."""
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        return None if name == timezone(offset).tzname(None) else [offset // _MICROSECOND, name]
    if zone is not None:
        raise _refusal(zone)
    return None


def _unpack_clock(kind: type[datetime] | type[time], value: Any) -> datetime | time:
    if isinstance(value, str):
        return kind.fromisoformat(value)
    text, zone, fold = value
    moment = kind.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo if zone is None else _unpack_zone(zone), fold=fold)


def _unpack_zone(zone: Any) -> tzinfo:
    if isinstance(zone, str):
        return ZoneInfo(zone)
    microseconds, name = zone
    return timezone(timedelta(microseconds=microseconds), name)


def _unpack_declared(value: Any) -> Tagged:
    name, state = value
    return Tagged(name, _unpack(state))


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
    SafeString: _packer("safe", str.__str__),
    Tagged: _packer("declared", lambda value: [value.name, pack(value.state)]),
    datetime: _packer("datetime", _clock_state),
    date: _packer("date", date.isoformat),
    time: _packer("time", _clock_state),
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
    "safe": SafeString,
    "declared": _unpack_declared,
    "datetime": partial(_unpack_clock, datetime),
    "date": date.fromisoformat,
    "time": partial(_unpack_clock, time),
    "timedelta": _interval,
    "decimal": Decimal,
    "uuid": UUID,
}


def _hashable(value: Any) -> Any:
    hash(value)
    return value
