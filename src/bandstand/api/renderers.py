"""JSON out."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer

from bandstand.finite import find_non_finite

__all__ = ["JSONRenderer", "NoJSONForm", "to_json"]

_DEEPEST: Final = 50  # levels in the path of a fault


class NoJSONForm(TypeError):
    """An answer contains a value that JSON can't express: a fault of the program, answered with status 500.

    ``path`` leads to the value, with dots; the value itself is not in the text.
    """

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        super().__init__(
            f"The answer can't be written as JSON: the value at {path or 'its top'} is {kind}. "
            f"Give the serializer a field that makes a text, a number or null of it."
        )


class JSONRenderer(BaseRenderer):
    """Writes JSON by msgspec. Decimals are strings, so that no client rounds money.

    NaN, infinities and whatever else JSON can't express raise :class:`NoJSONForm`.
    """

    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8; to say so is against RFC 8259

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - REST framework's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        """Return ``data`` as JSON; None is an empty body."""
        return b"" if data is None else to_json(data)


def to_json(value: Any) -> bytes:
    """Return ``value`` as JSON.

    Raises:
        NoJSONForm: it holds something that JSON can't express, with the path of it.
    """
    try:
        encoded = _encode(value)
    except NoJSONForm:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:  # a UnicodeEncodeError is a ValueError
        where, kind = _unwritable(value)
        raise NoJSONForm(where, f"{kind} ({error})") from error
    path = find_non_finite(value)
    if path is not None:
        raise NoJSONForm(path, "NaN or infinite")
    return encoded


def _plain(value: Any) -> Any:
    """Make of what msgspec does not know something that it does: lazy texts, kinds of str, mappings, iterables."""
    if isinstance(value, (str, Promise)):
        return str.__str__(value) if isinstance(value, str) else str(value)
    if isinstance(value, Mapping):
        return _finite(dict(value))
    if isinstance(value, Iterable):
        return _finite(list(value))
    raise TypeError("not a type that JSON can express")


def _finite(value: Any) -> Any:
    """Return ``value``, the items of an iterable, after a check for NaN: some iterables can be read only once.

    Raises:
        NoJSONForm: an item is NaN or infinite.
    """
    path = find_non_finite(value)
    if path is not None:
        raise NoJSONForm(f"(in an iterable) {path}", "NaN or infinite")
    return value


_encode: Final = msgspec.json.Encoder(enc_hook=_plain, decimal_format="string").encode


def _unwritable(value: Any, path: str = "", depth: int = 0) -> tuple[str, str]:
    """Return path and type of the first value that can't be written by itself."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple, set, frozenset)):
        items = enumerate(value)
    for name, item in items if depth < _DEEPEST else ():
        try:
            _encode(item)
        except Exception:  # noqa: BLE001 - whatever it is, the value is in here
            return _unwritable(item, f"{path}.{name}" if path else str(name), depth + 1)
    return path, type(value).__name__
