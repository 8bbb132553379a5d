"""Small platforms: what services would say, without the services."""

from typing import Any

import msgspec

from bandstand.events.schemas import schema_of
from bandstand.workspace.contracts import Consumption, Event, Platform, Promise, Publication, ServiceContracts, View


def publication(kind: type[msgspec.Struct], event_type: str = "order.placed", version: int = 1) -> Publication:
    return Publication(type=event_type, version=version, name=kind.__name__, schema=schema_of(kind))


def consumption(*views: View, pattern: str = "order.placed", source: str | None = None) -> Consumption:
    return Consumption(subscription="stock.reserve", pattern=pattern, source=source, views=views)


def view(kind: type[msgspec.Struct], version: int | None = 1) -> View:
    return View(version=version, name=kind.__name__, schema=schema_of(kind))


def service(name: str, *publishes: Publication, consumes: tuple[Consumption, ...] = ()) -> ServiceContracts:
    return ServiceContracts(format=1, service=name, publishes=publishes, consumes=consumes)


def platform(*services: ServiceContracts) -> Platform:
    return Platform(name="shop", services=services)


def promised(kind: type[msgspec.Struct], event_type: str = "order.placed", version: int = 1) -> dict[Event, Promise]:
    schema: dict[str, Any] = schema_of(kind)
    return {Event(type=event_type, version=version): Promise(service="order-service", schema=schema)}
