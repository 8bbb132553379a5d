"""What an event is: a frozen value with a type, a version and typed fields."""

import re
from typing import Any, ClassVar, Final, dataclass_transform

import msgspec

from bandstand.exceptions import ConfigurationError

__all__ = ["Event", "is_event_type"]

_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_MAX_TYPE: Final = 100


def is_event_type(text: str) -> bool:
    """Say whether ``text`` is lower-case words joined by dots, of a length that every broker takes."""
    return len(text) <= _MAX_TYPE and _TYPE.fullmatch(text) is not None


class EventMeta(msgspec.StructMeta):
    """Makes each subclass of ``Event`` a frozen, keyword-only struct that knows its type and version."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        *,
        type: str = "",  # noqa: A002 - the CloudEvents attribute's own name
        version: int = 1,
        **options: Any,
    ) -> Any:
        if type and not is_event_type(type):
            raise ConfigurationError(
                f"The event {name} has the type {type!r}; write lower-case words joined by dots, "
                f'what it is about first and what happened last: type="order.placed".'
            )
        if version < 1:
            raise ConfigurationError(f"The event {name} has the version {version}; versions begin with 1.")
        namespace.setdefault("__event_type__", type)
        namespace.setdefault("__event_version__", version)
        return super().__new__(mcs, name, bases, namespace, **{**options, "frozen": True, "kw_only": True})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True, kw_only=True, metaclass=EventMeta):
    """Something that happened, in the past tense::

        class UserCreated(Event, type="user.created", version=1):
            user_id: str
            email: str

    Fields are what msgspec encodes to JSON: text, numbers, booleans, ``Decimal`` and ``UUID`` (as text), dates with
    time zone, lists, dictionaries, other structs. A consumer declares its own view with only the fields that it
    needs; fields that it does not name are ignored. A new field needs a default; a change that old consumers can't
    read needs a new ``version``. Without ``type`` the class is only a view, for subscriptions to several types.

    Raises:
        ConfigurationError: the type is not lower-case words joined by dots, or the version is below 1.
    """

    __event_type__: ClassVar[str]
    __event_version__: ClassVar[int]
