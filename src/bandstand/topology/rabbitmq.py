"""The exchanges of a platform in RabbitMQ, and what a service may do there.

Each service publishes to an exchange of its own, which nobody else may write to. An administrator binds these to the
shared exchange, which is internal: no client publishes to it. A service binds an exchange of its own to the shared one
to get all events, and its queues to that. So the exchange that a message was published to names its source, and the
broker vouches for it; a routing key does not, since a header can add more of them (``CC`` and ``BCC``).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from bandstand.exceptions import BrokerError, ConfigurationError

if TYPE_CHECKING:
    from bandstand.amqp import Channel, Connection

__all__ = [
    "archive",
    "declare_exchanges",
    "inbound_exchange",
    "permissions",
    "published_exchange",
    "service_exchange",
    "topic_permissions",
]

_ARCHIVE: Final = {
    "x-queue-type": "stream",
    "x-max-age": "7D",
    # Whole segments are dropped, so they must not be large for the age to mean something.
    "x-stream-max-segment-size-bytes": 50_000_000,
}

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
_EVENTS: Final = "events"
_INACCESSIBLE: Final = "is down or inaccessible"  # a queue whose node is away, or that a killed node has forgotten


def published_exchange(platform: str) -> str:
    """Return the name of the exchange that gets the events of all services of ``platform``."""
    return f"{_checked('platform', platform)}.{_EVENTS}"


def archive(platform: str) -> str:
    """Return the name of the stream that keeps all events of the last seven days."""
    return published_exchange(platform)


def service_exchange(platform: str, service: str) -> str:
    """Return the name of the exchange to which ``service`` publishes."""
    return f"{published_exchange(platform)}.{_service(service)}"


def inbound_exchange(platform: str, service: str) -> str:
    """Return the name of the exchange by which ``service`` gets events: its own to declare."""
    return f"{_checked('platform', platform)}.{_service(service)}"


def permissions(platform: str, service: str) -> dict[str, str]:
    """Return the permissions of the service's user: regular expressions for names of exchanges and queues."""
    inbound, own, shared = (
        name.replace(".", r"\.")
        for name in (
            inbound_exchange(platform, service),
            service_exchange(platform, service),
            published_exchange(platform),
        )
    )
    everything = rf"{inbound}(\..*)?"
    return {"configure": f"^{everything}$", "write": f"^({everything}|{own})$", "read": f"^({everything}|{shared})$"}


def topic_permissions(platform: str, service: str) -> dict[str, str]:
    """Return the permissions of the service's user for routing keys: those that begin with its name."""
    return {"exchange": service_exchange(platform, service), "write": rf"^{service}\.", "read": "^$"}


async def declare_exchanges(url: str, platform: str, services: Collection[str]) -> tuple[str, ...]:
    """Declare the exchanges and the archive that are missing, as the administrator whom ``url`` names.

    What exists keeps its configuration, which is the operator's. Bindings are made in an order in which no event
    passes before all who wait for it are bound: until then it is returned to its publisher, which tries again.

    Returns:
        The names of what was missing.

    Raises:
        ConfigurationError: ``url`` is not understood, or pika is not installed.
        BrokerError: RabbitMQ can't be reached, or refuses; the text says why.
    """
    try:
        from bandstand import amqp  # noqa: PLC0415 - needs a driver, imported when it is needed

        parameters = amqp.url_parameters(url)
    except ImportError as error:
        raise ConfigurationError(
            f"RabbitMQ's driver is missing ({error}): pip install 'bandstand[rabbitmq]'"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"The URL of RabbitMQ's administrator is not understood: {error}") from error
    try:
        async with amqp.Connection.connected(parameters) as connection:
            declaration = _Declaration(connection, platform)
            await declaration.run(services)
    except amqp.TROUBLE as error:
        place = f"{parameters.host}:{parameters.port}"
        reason = str(error) or type(error).__name__
        if _INACCESSIBLE in reason:
            reason += (
                f". Start that node, or delete the archive if it is lost: rabbitmqctl delete_queue {archive(platform)}"
            )
        raise BrokerError(f"RabbitMQ at {place} can't be used: {reason}") from error
    return tuple(declaration.missing)


class _Declaration:
    """Declares on one connection; ``missing`` are the names of what was not there."""

    def __init__(self, connection: Connection, platform: str) -> None:
        self.missing: list[str] = []
        self._connection = connection
        self._platform = platform
        self._shared = published_exchange(platform)

    async def run(self, services: Collection[str]) -> None:
        async with self._connection.borrowed() as channel:
            await self._declare_exchange(channel, self._shared, internal=True)
            await self._declare_archive(channel)
            for service in services:
                inbound = inbound_exchange(self._platform, service)
                if await self._connection.exists(exchange=inbound):  # else the service has never run
                    await _bind(channel, inbound, self._shared, "#")
            for service in services:
                own = service_exchange(self._platform, service)
                await self._declare_exchange(channel, own, internal=False)
                await _bind(channel, self._shared, own, f"{service}.#")

    async def _declare_exchange(self, channel: Channel, name: str, *, internal: bool) -> None:
        if not await self._connection.exists(exchange=name):
            declare = channel.raw.exchange_declare
            await channel.call(declare, exchange=name, exchange_type="topic", durable=True, internal=internal)
            self.missing.append(name)

    async def _declare_archive(self, channel: Channel) -> None:
        name = archive(self._platform)
        if not await self._connection.exists(queue=name):
            await channel.call(channel.raw.queue_declare, queue=name, durable=True, arguments=dict(_ARCHIVE))
            self.missing.append(name)
        await channel.call(channel.raw.queue_bind, queue=name, exchange=self._shared, routing_key="#")


async def _bind(channel: Channel, destination: str, source: str, key: str) -> None:
    await channel.call(channel.raw.exchange_bind, destination=destination, source=source, routing_key=key)


def _service(service: str) -> str:
    if service == _EVENTS:
        raise ConfigurationError(
            f"A service can't be called {service!r} in RabbitMQ, where its names would be those of the shared exchange."
        )
    return _checked("service", service)


def _checked(what: str, value: str) -> str:
    if _TOKEN.fullmatch(value) is None:
        raise ConfigurationError(
            f"The {what} is called {value!r}; in RabbitMQ that can only have letters, digits, '-' and '_'."
        )
    return value
