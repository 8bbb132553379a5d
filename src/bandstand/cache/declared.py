"""Declared enumerations, dataclasses, named tuples and structs in the cache.

Stored data never causes a class to be imported. An instance is restored only where the reading code has declared its
class, and only if the class still has the same fields.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, Flag
from typing import Any, Final

import msgspec
from django.utils.functional import cached_property

from bandstand.cache.values import Tagged, is_declarable, name_of_class

__all__ = ["DeclaredTypes", "types_in"]

_CONTAINERS: Final = (list, tuple, set, frozenset)


class DeclaredTypes:
    """The classes whose instances a part of the cache keeps."""

    def __init__(self, classes: Iterable[type[Any]]) -> None:
        """Declare the classes, and those in the annotations of their fields.

        Raises:
            TypeError: one of them is no enumeration, dataclass, named tuple or struct.
        """
        self._by_name: dict[str, type[Any]] = {}
        for cls in classes:
            if not is_declarable(cls):
                text = f"{cls!r} can't be declared: only enumerations, dataclasses, named tuples and structs can."
                raise TypeError(text)
            self._by_name |= {name_of_class(each): each for each in types_in(cls)}

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def pack(self, value: Any) -> Any:
        """Return ``value`` with each instance of a declared class in terms of data.

        Raises:
            TypeError: an instance holds more than the fields of its class.
        """
        kind = type(value)
        if self._by_name.get(name_of_class(kind)) is kind:
            return Tagged(name_of_class(kind), self.pack(_state(value)))
        return _mapped(self.pack, value)

    def unpack(self, value: Any) -> Any:
        """Return what :meth:`pack` was given.

        Raises:
            LookupError, TypeError, ValueError: it was kept by a release whose classes were others.
        """
        if type(value) is Tagged:
            return _instance(self._by_name[value.name], self.unpack(value.state))
        return _mapped(self.unpack, value)


def types_in(annotation: Any) -> set[type[Any]]:
    """Return the classes in an annotation, and in the fields of those classes, that can be declared."""
    return set(_classes_in(annotation, set()))


def _classes_in(annotation: Any, seen: set[Any]) -> Iterator[type[Any]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if annotation in seen or not is_declarable(annotation):
            return
        seen.add(annotation)
        yield annotation
        inner: Iterable[Any] = () if issubclass(annotation, Enum) else _annotations_of(annotation)
    else:
        origin = typing.get_origin(annotation)
        inner = () if origin is None else (origin, *typing.get_args(annotation))
    for each in inner:
        yield from _classes_in(type(each) if isinstance(each, Enum) else each, seen)  # a member stands in a Literal


def _annotations_of(cls: type[Any]) -> Iterable[Any]:
    try:
        return typing.get_type_hints(cls).values()
    except (NameError, TypeError):  # imported for type checkers alone: what it names must be declared by itself
        return ()


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {change(key): change(item) for key, item in value.items()}
    return kind(map(change, value)) if kind in _CONTAINERS else value


def _state(value: Any) -> Any:
    if isinstance(value, Flag):
        return value.value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple):
        return list(value)
    names = _fields_of(type(value))
    surplus = [name for name in getattr(value, "__dict__", {}) if name not in names and not _is_cached(value, name)]
    if surplus:
        raise TypeError(f"{name_of_class(type(value))} can't be kept: {surplus[0]!r} is no field of the class.")
    return {name: getattr(value, name) for name in names}


def _instance(cls: type[Any], state: Any) -> Any:
    if issubclass(cls, Flag):
        return cls(state)
    if issubclass(cls, Enum):
        return cls[state]
    if issubclass(cls, tuple):
        return cls._make(state)  # type: ignore[attr-defined] # of named tuples
    if set(state) != set(_fields_of(cls)):
        raise ValueError(f"{name_of_class(cls)} has other fields now")
    if issubclass(cls, msgspec.Struct):
        return cls(**state)
    value = object.__new__(cls)  # not by its __init__, which may count, check or change what was right once
    for name, item in state.items():
        object.__setattr__(value, name, item)
    return value


def _fields_of(cls: type[Any]) -> tuple[str, ...]:
    if issubclass(cls, msgspec.Struct):
        return tuple(field.name for field in msgspec.structs.fields(cls))
    return tuple(field.name for field in dataclasses.fields(cls))


def _is_cached(value: Any, name: str) -> bool:
    return isinstance(getattr(type(value), name, None), (functools.cached_property, cached_property))
