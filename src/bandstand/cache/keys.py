"""Keys that are the same in every process."""

import hashlib
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from bandstand.cache.values import NotData, encode_stable
from bandstand.exceptions import UnstableKey

__all__ = ["arguments", "digest"]

_SIZE: Final = 16  # bytes
_COLLECTIONS: Final[tuple[tuple[type[Any], Any], ...]] = (
    (list, list),
    (tuple, tuple),
    (frozenset, (set, frozenset)),
)


def digest(value: Any) -> str:
    """Return 32 hexadecimal digits for ``value``, the same in every process and release of Python.

    Raises:
        UnstableKey: the value is, or holds, an object whose only form is its address or its ``repr``.
    """
    try:
        return hashlib.blake2b(encode_stable(_stable(value)), digest_size=_SIZE).hexdigest()
    except NotData as error:
        raise UnstableKey(
            f"A cache key can't be made of {type(value).__name__} {_short(value)}: {error.name} has no form that is "
            f"the same in every process. Pass the id of an object instead of the object."
        ) from None


def arguments(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by name, defaults included, so that each way to write a call has one key.

    Raises:
        TypeError: the call does not fit the signature.
    """
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def name_of(function: Callable[..., Any]) -> str:
    """Return the full name of a function."""
    return f"{function.__module__}.{function.__qualname__}"


def _stable(value: Any) -> Any:
    """Replace members of enumerations by their names, since a str or int that only looks like one is another key.

    Subclasses of str count as their text, so that a ``SafeString`` has the same key as a plain str.
    """
    if isinstance(value, Enum):
        return ("enum", f"{type(value).__module__}.{type(value).__qualname__}", value.name)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, dict):
        return {_stable(key): _stable(item) for key, item in value.items()}
    for plain, kinds in _COLLECTIONS:
        if isinstance(value, kinds):
            return plain(map(_stable, value))
    return value


def _short(value: Any) -> str:
    text = object.__repr__(value) if not isinstance(value, (dict, list, tuple)) else f"of {len(value)}"
    return text[:80]
