"""What the services say about their events: the workspace's half of ``manage.py contracts --json``."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

__all__ = ["FORMAT", "Consumption", "Event", "Platform", "Publication", "Reader", "ServiceContracts", "View"]

FORMAT: Final = 1


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an event that a service publishes."""

    type: str
    version: int
    name: str
    schema: dict[str, Any]

    @property
    def event(self) -> "Event":
        return Event(type=self.type, version=self.version)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How a handler reads events of ``version``, or of any where that is None."""

    version: int | None
    name: str
    schema: dict[str, Any]


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription with its views. ``source`` is the only service that it believes, or None."""

    subscription: str
    pattern: str
    source: str | None = None
    views: tuple[View, ...]

    def matches(self, event_type: str) -> bool:
        """Say whether events of that type are for this subscription; ``*`` stands for one word."""
        words, pattern = event_type.split("."), self.pattern.split(".")
        return len(words) == len(pattern) and all(
            wanted in {"*", word} for wanted, word in zip(pattern, words, strict=True)
        )

    def view(self, version: int) -> View | None:
        """Return how events of ``version`` are read: by the view of just that version, else by one for all."""
        return next((view for wanted in (version, None) for view in self.views if view.version == wanted), None)


class ServiceContracts(msgspec.Struct, frozen=True, kw_only=True):
    """What one service publishes and reads."""

    format: int
    service: str
    publishes: tuple[Publication, ...]
    consumes: tuple[Consumption, ...]


class Event(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One version of a type."""

    type: str
    version: int

    def __str__(self) -> str:
        return f"{self.type} v{self.version}"

    @property
    def file_name(self) -> str:
        return f"{self.type}.v{self.version}.json"


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription of a service."""

    service: str
    consumption: Consumption

    def __str__(self) -> str:
        return f"{self.service} ({self.consumption.subscription})"


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """All services together, in the order of the manifest."""

    name: str
    services: tuple[ServiceContracts, ...]

    def publications(self) -> Iterator[tuple[ServiceContracts, Publication]]:
        """Every publication with its service, by type and version."""
        pairs = [(service, each) for service in self.services for each in service.publishes]
        return iter(sorted(pairs, key=lambda pair: pair[1].event))

    def readers(self) -> tuple[Reader, ...]:
        """Every subscription of every service."""
        return tuple(
            Reader(service=service.service, consumption=each) for service in self.services for each in service.consumes
        )

    def readers_of(self, event_type: str) -> tuple[Reader, ...]:
        """The subscriptions that events of ``event_type`` reach."""
        return tuple(reader for reader in self.readers() if reader.consumption.matches(event_type))
