"""The platform's events as an AsyncAPI 3.0 document: https://www.asyncapi.com/docs/reference/specification/v3.0.0.

One channel for each event and broker, since its address differs; the operations of a service are to send what it
publishes and to receive what it reads. A message is a CloudEvent in JSON (structured mode), with the event in ``data``.
"""

from collections.abc import Iterator
from typing import Any, Final

from bandstand.workspace.contracts.model import Event, Platform, Publication, Reader, ServiceContracts

__all__ = ["asyncapi"]

Value = dict[str, Any]

_CONTENT_TYPE: Final = "application/cloudevents+json"
_BROKERS: Final = ("nats", "rabbitmq")

_NAMED: Final[Value] = {"type": "string", "minLength": 1, "maxLength": 200}
_ENVELOPE: Final[Value] = {
    "type": "object",
    "description": "A CloudEvent 1.0 in JSON; other attributes are ignored.",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**_NAMED, "description": "The same at each repetition (UUID version 7)."},
        "source": {**_NAMED, "description": "The service that published it."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "partitionkey": {"type": "string", "maxLength": 200, "description": "Events of one key keep their order."},
        "correlationid": {"type": "string"},
        "causationid": {"type": "string", "description": "The id of the event that caused this one."},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
        "tracestate": {"type": "string"},
    },
}


def asyncapi(platform: Platform) -> Value:
    """Return the document. It holds no schema keywords after draft-07, which AsyncAPI builds on."""
    publications = list(platform.publications())
    schemas: Value = {"cloudevent": _ENVELOPE}
    for _, publication in publications:
        schemas |= _schemas(publication)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Events of {platform.name}",
            "version": "1.0.0",
            "description": "What the services tell each other. Each event has a version of its own.",
        },
        "defaultContentType": _CONTENT_TYPE,
        "servers": {
            "nats": _server("nats", "NATS with JetStream.", "127.0.0.1:4222"),
            "rabbitmq": _server("amqp", "RabbitMQ, AMQP 0.9.1.", "127.0.0.1:5672"),
        },
        "channels": dict(_channels(platform, publications)),
        "operations": dict(_operations(platform, publications)),
        "components": {
            "messages": {str_of(each.event): _message(service, each) for service, each in publications},
            "schemas": schemas,
        },
    }


def str_of(event: Event) -> str:
    """``user.created.v1``: the name of an event in the document."""
    return f"{event.type}.v{event.version}"


def _server(protocol: str, description: str, address: str) -> Value:
    return {
        "host": "{address}",
        "protocol": protocol,
        "description": description,
        "variables": {"address": {"default": address, "description": "Host and port in BROKER_URL."}},
    }


_Published = list[tuple[ServiceContracts, Publication]]


def _channels(platform: Platform, publications: _Published) -> Iterator[tuple[str, Value]]:
    for event_type, (service, events) in _by_type(publications).items():
        messages = {str_of(event): {"$ref": f"#/components/messages/{str_of(event)}"} for event in events}
        for broker in _BROKERS:
            yield (
                f"{broker}.{event_type}",
                {
                    **_address(broker, platform.name, service, event_type),
                    "title": event_type,
                    "servers": [{"$ref": f"#/servers/{broker}"}],
                    "messages": messages,
                },
            )


def _by_type(publications: _Published) -> dict[str, tuple[str, list[Event]]]:
    """The service that owns each type, with the versions that it publishes."""
    types: dict[str, tuple[str, list[Event]]] = {}
    for service, publication in publications:
        events = types.setdefault(publication.type, (service.service, []))[1]
        if publication.event not in events:
            events.append(publication.event)
    return types


def _address(broker: str, platform: str, service: str, event_type: str) -> Value:
    if broker == "nats":
        return {"address": f"{platform}.events.{service}.{event_type}"}
    exchange = {"name": f"{platform}.events", "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "address": f"{service}.{event_type}",
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _operations(platform: Platform, publications: _Published) -> Iterator[tuple[str, Value]]:
    types = _by_type(publications)
    for broker in _BROKERS:
        for event_type, (service, events) in types.items():
            summary = f"{service} publishes {event_type}."
            yield (
                f"{broker}.{service}.sends.{event_type}",
                _operation("send", f"{broker}.{event_type}", events, service, summary),
            )
        for reader in platform.readers():
            for event_type, (_, events) in types.items():
                if reader.consumption.matches(event_type):
                    yield _reading(broker, reader, event_type, events)


def _reading(broker: str, reader: Reader, event_type: str, events: list[Event]) -> tuple[str, Value]:
    name = reader.consumption.subscription
    read = [event for event in events if reader.consumption.view(event.version) is not None]
    operation = _operation("receive", f"{broker}.{event_type}", read, reader.service, f"{reader} reads {event_type}.")
    return f"{broker}.{reader.service}.{name}.receives.{event_type}", {**operation, "x-subscription": name}


def _operation(action: str, channel: str, events: list[Event], service: str, summary: str) -> Value:
    channel = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "summary": summary,
        "tags": [{"name": service}],
        "messages": [{"$ref": f"{channel}/messages/{str_of(event)}"} for event in events],
    }


def _message(service: ServiceContracts, publication: Publication) -> Value:
    dataschema = f"bandstand:{publication.type}/{publication.version}"
    own = {
        "type": "object",
        "properties": {
            "source": {"const": service.service},
            "type": {"const": publication.type},
            "dataschema": {"const": dataschema},
            "data": {"$ref": f"#/components/schemas/{str_of(publication.event)}"},
        },
    }
    return {
        "name": publication.type,
        "title": publication.schema.get("title", publication.name),
        "summary": str(publication.schema.get("description", publication.name)).partition("\n")[0],
        "contentType": _CONTENT_TYPE,
        "payload": {"allOf": [{"$ref": "#/components/schemas/cloudevent"}, own]},
    }


def _schemas(publication: Publication) -> Value:
    """The event's schema and its definitions, which the document keeps side by side."""
    root, prefix = str_of(publication.event), f"#/components/schemas/{str_of(publication.event)}"
    schema = dict(publication.schema)
    definitions = schema.pop("$defs", {})
    named = {f"{root}.{name}": _draft07(inner, prefix) for name, inner in definitions.items()}
    return {root: _draft07(schema, prefix), **named}


def _draft07(value: Any, prefix: str) -> Any:
    """``prefixItems`` was called ``items``; definitions move, and the tag of a union needs a field to stand in."""
    if isinstance(value, list):
        return [_draft07(each, prefix) for each in value]
    if not isinstance(value, dict):
        return value
    moved = {
        key: _draft07(inner, prefix) for key, inner in value.items() if key not in {"discriminator", "prefixItems"}
    }
    if "prefixItems" in value and isinstance(value["prefixItems"], list):
        rest = moved.pop("items", None)
        moved["items"] = _draft07(value["prefixItems"], prefix)
        moved |= {} if rest is None else {"additionalItems": rest}
    reference = value.get("$ref")
    if isinstance(reference, str):
        moved["$ref"] = f"{prefix}.{reference.removeprefix('#/$defs/')}" if reference != "#" else prefix
    return moved
