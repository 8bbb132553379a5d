"""What this service publishes and what it reads, as one value: the service's half of ``bandstand contracts``."""

from collections.abc import Iterable
from typing import Any

import msgspec

from bandstand.conf import get_settings
from bandstand.events.event import Event
from bandstand.events.publications import PUBLICATIONS
from bandstand.events.schemas import schema_of
from bandstand.events.subscriptions import REGISTRY, Subscription
from bandstand.exceptions import ConfigurationError

__all__ = ["Consumption", "Contracts", "Publication", "View", "describe"]


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an event that the service publishes. ``schema`` is JSON Schema, of what stands in ``data``."""

    type: str
    version: int
    name: str
    schema: dict[str, Any]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How a handler reads: only events of ``version``, or those of any where that is None."""

    version: int | None
    name: str
    schema: dict[str, Any]


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription with the views through which its handler reads. ``source`` is the only service it believes."""

    subscription: str
    pattern: str
    source: str | None
    views: tuple[View, ...]


class Contracts(msgspec.Struct, frozen=True, kw_only=True):
    """``format`` is the version of this form."""

    format: int = 1
    service: str
    publishes: tuple[Publication, ...]
    consumes: tuple[Consumption, ...]


def describe(
    published: Iterable[type[Event]] = PUBLICATIONS, subscriptions: Iterable[Subscription] = REGISTRY
) -> Contracts:
    """Return what this service publishes and reads, in an order that does not depend on imports.

    Raises:
        ConfigurationError: two classes are the same version of a type, or a field has no JSON form.
    """
    return Contracts(
        service=get_settings().service,
        publishes=tuple(_publications(published)),
        consumes=tuple(_consumption(each) for each in sorted(subscriptions, key=lambda each: each.name)),
    )


def _publications(published: Iterable[type[Event]]) -> Iterable[Publication]:
    seen: dict[tuple[str, int], type[Event]] = {}
    for kind in published:
        known = seen.setdefault((kind.__event_type__, kind.__event_version__), kind)
        if known is not kind:
            raise ConfigurationError(
                f"{known.__module__}.{known.__qualname__} and {kind.__module__}.{kind.__qualname__} are both version "
                f"{kind.__event_version__} of {kind.__event_type__!r}. Delete one, or give it another version."
            )
        yield Publication(
            type=kind.__event_type__, version=kind.__event_version__, name=kind.__name__, schema=schema_of(kind)
        )


def _consumption(subscription: Subscription) -> Consumption:
    return Consumption(
        subscription=subscription.name,
        pattern=subscription.pattern,
        source=subscription.source,
        views=tuple(map(_view, subscription.views)),
    )


def _view(kind: type[Any]) -> View:
    if not issubclass(kind, Event):
        return View(version=None, name="dict", schema={"type": "object"})
    version = kind.__event_version__ if kind.__event_type__ else None
    return View(version=version, name=kind.__name__, schema=schema_of(kind))
