"""What this service publishes: so that its contracts can be written without waiting until it happens.

The rule: an ``Event`` class with a type that one of the service's apps declares is published by the service, unless a
subscription reads it, for then it is the service's view of what others publish. A class that is both, since the service
handles what it publishes itself, and one that is imported from elsewhere, are declared with ``@publishes``.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from django.apps import apps

from bandstand.events.event import Event
from bandstand.exceptions import ConfigurationError

__all__ = ["PUBLICATIONS", "Publications", "publishes"]

logger: Final = logging.getLogger(__name__)

E = TypeVar("E", bound=type[Event])


class Publications:
    """The classes that a service publishes."""

    def __init__(self) -> None:
        self._declared: set[type[Event]] = set()
        self._found: set[type[Event]] | None = None
        self._told: set[type[Event]] = set()

    def declare(self, kind: type[Event]) -> None:
        """Add what ``@publishes`` is written above.

        Raises:
            ConfigurationError: the class has no type.
        """
        if not getattr(kind, "__event_type__", ""):
            raise ConfigurationError(
                f"@publishes stands above {kind.__name__}, which is no event with a type. "
                f"Write class {kind.__name__}(Event, type=…, version=1)."
            )
        self._declared.add(kind)

    def settle(self, views: Iterable[type[Any]]) -> None:
        """Find what the installed apps declare, now that all of them are imported; ``views`` is what is only read."""
        read = set(views)
        self._found = {kind for kind in _typed(Event) if kind not in read and _is_ours(kind)}

    def __iter__(self) -> Iterator[type[Event]]:
        """By type and version."""
        return iter(sorted(self._declared | (self._found or set()), key=_order))

    def declared(self, event_type: str, version: int) -> type[Event] | None:
        """Return the class that describes that version of the type, if this service has one."""
        wanted = (event_type, version)
        return next((kind for kind in self if (kind.__event_type__, kind.__event_version__) == wanted), None)

    def notice(self, kind: type[Event]) -> None:
        """Say once of a class that it is published although no contract could know."""
        if self._found is None or kind in self._found or kind in self._declared or kind in self._told:
            return
        self._told.add(kind)
        logger.warning(
            "%s is published, but the contracts do not know: a subscription of this service reads the class, or no "
            "events.py of its apps declares or imports it. Write @publishes above it in events.py.",
            f"{kind.__module__}.{kind.__qualname__}",
            extra={"type": kind.__event_type__, "version": kind.__event_version__},
        )


PUBLICATIONS: Final = Publications()


def publishes(kind: E) -> E:
    """Declare that this service publishes events of the class::

        @publishes
        class MailQueued(Event, type="mail.queued", version=1):
            mail_id: UUID

    Needed only where that can't be seen: for a class that a subscription of the same service reads, and for one that
    is declared outside of the service's apps (``publishes(shared.MailQueued)``).

    Raises:
        ConfigurationError: the class has no type.
    """
    PUBLICATIONS.declare(kind)
    return kind


def _typed(kind: type[Event]) -> Iterator[type[Event]]:
    for each in kind.__subclasses__():
        if each.__event_type__:
            yield each
        yield from _typed(each)


def _is_ours(kind: type[Event]) -> bool:
    """What a test declares inside of a function is nobody's contract."""
    return "<locals>" not in kind.__qualname__ and apps.get_containing_app_config(kind.__module__) is not None


def _order(kind: type[Event]) -> tuple[str, int, str]:
    return (kind.__event_type__, kind.__event_version__, kind.__qualname__)
