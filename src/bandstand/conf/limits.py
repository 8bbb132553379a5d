"""Kinds of values that limits have, each with the words that tell how one is written. Pure."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, TypeAlias, get_origin

import msgspec
from msgspec import Meta

__all__ = ["Count", "Deaths", "Delays", "Period", "Seconds", "fault", "faults"]

_YEAR: Final = 366 * 24 * 3600

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=3600, description="a number of seconds above 0, at most 3600")]
Period: TypeAlias = Annotated[
    float, Meta(gt=0, le=_YEAR, description=f"a number of seconds above 0, at most {_YEAR} (a year)")
]
Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000, description="a whole number from 1 to 1000000")]
# With a process die all events that it had fetched, so one death says nothing of any of them.
Deaths: TypeAlias = Annotated[int, Meta(ge=2, le=1_000_000, description="a whole number from 2 to 1000000")]
Delays: TypeAlias = Annotated[
    tuple[Annotated[float, Meta(ge=0, le=_YEAR)], ...],
    Meta(min_length=1, description=f"a list of at least one number of seconds, each from 0 to {_YEAR} (a year)"),
]


def fault(
    name: str, value: object, kinds: Mapping[str, Any], *, written: Callable[[str], str] = str, strict: bool = True
) -> str:
    """Return what is wrong with ``value`` under ``name``, going on from the name; "" if nothing is.

    ``kinds`` has the type of each name that is known, and ``written`` makes of a name how it is written there. Unless
    ``strict``, the text of a number is that number, as environment variables have it.
    """
    if name not in kinds:
        near = get_close_matches(str(name), kinds, n=1)
        known = ", ".join(written(each) for each in kinds)
        return f"is not known; did you mean {written(near[0])}?" if near else f"is not known; there are {known}."
    try:
        msgspec.convert(value, kinds[name], strict=strict)
    except msgspec.ValidationError as error:
        words = _words(kinds[name])
        # Only limits are shown: what has no words of its own may hold a password.
        return f"is {value!r}; write {words}." if words else f"is wrong: {error}."
    return ""


def faults(values: Mapping[str, Any], kind: type[msgspec.Struct], place: str) -> Iterator[str]:
    """Yield a sentence for everything that is wrong in ``values``, which stand at ``place`` and become a ``kind``."""
    fields = msgspec.structs.fields(kind)
    kinds = {field.encode_name: field.type for field in fields}
    for field in fields:
        if field.required and field.encode_name not in values:
            yield f'{place}["{field.encode_name}"] is missing.'
    for name, value in values.items():
        inner = kinds.get(name)
        where = f'{place}["{name}"]'
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, Mapping):
            yield from faults(value, inner, where)
        elif text := fault(name, value, kinds, strict=False):
            yield f"{where} {text}"


def _words(kind: Any) -> str:
    """Return how a value of ``kind`` is written, where that was told."""
    if get_origin(kind) is not Annotated:
        return ""
    return next((each.description for each in kind.__metadata__ if isinstance(each, Meta) and each.description), "")
