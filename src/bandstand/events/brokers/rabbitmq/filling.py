"""Bringing the past into the queue of a new subscription: what the archive holds, then what comes from now on.

The queue is bound only when the archive has been copied, and then what came until the binding took effect is copied,
too. So nothing is missed, and what is old comes before what is new; around the moment of the binding an event may
come twice, which the inbox knows, and out of order. A connection of its own, because a server that is short of memory
stops to listen to connections that publish, and must still hear what the consumers acknowledge.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Final
from uuid import uuid4

import pika

from bandstand.amqp import Connection
from bandstand.events.brokers.base import Binding
from bandstand.events.brokers.rabbitmq.confirms import ConfirmedChannel, Parcel
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.reading import Kept, read
from bandstand.events.brokers.rabbitmq.topology import Topology

__all__ = ["fill"]

logger: Final = logging.getLogger(__name__)

_SETTLING: Final = 0.1  # seconds from the answer to a binding until every process of the server routes by it


async def fill(parameters: pika.ConnectionParameters, names: Names, binding: Binding) -> None:
    """Copy the past of ``binding`` into its queue, and bind it.

    Raises:
        BrokerError: the server takes no messages now.
        OSError, AMQPError: the connection is lost.
    """
    async with Connection.connected(parameters) as connection:
        copied = await _Filling(connection, names, binding, await ConfirmedChannel.open(connection)).run()
    logger.info("Brought the past", extra={"subscription": binding.subscription, "events": copied})


class _Filling:
    def __init__(self, connection: Connection, names: Names, binding: Binding, writer: ConfirmedChannel) -> None:
        self._connection = connection
        self._names = names
        self._binding = binding
        self._writer = writer
        self._key = names.backfill(binding.subscription)
        self._wants = _matcher(binding.pattern)

    async def run(self) -> int:
        """Return how many messages were copied."""
        topology = Topology(self._connection, self._names)
        copied, bound = 0, False
        async with aclosing(read(self._connection, self._names.archive)) as portions:
            mark = await self._mark()
            async for portion in portions:
                copied += await self._copy([kept for kept in portion if self._wants(kept.key)])
                if all(kept.properties.message_id != mark for kept in portion):
                    continue
                if bound:
                    break
                await topology.bind_pattern(self._binding.subscription, self._binding.pattern)
                await asyncio.sleep(_SETTLING)
                bound, mark = True, await self._mark()
        return copied

    async def _mark(self) -> str:
        """Mark the end of the archive as it is now."""
        mark = uuid4().hex
        properties = pika.BasicProperties(message_id=mark, delivery_mode=2)
        parcel = Parcel(exchange=self._names.exchange, key=self._names.mark, body=b"", properties=properties)
        await self._write([parcel])
        return mark

    async def _copy(self, messages: list[Kept]) -> int:
        await self._write(
            [
                Parcel(exchange=self._names.inbound, key=self._key, body=kept.body, properties=self._copied(kept))
                for kept in messages
            ]
        )
        return len(messages)

    def _copied(self, kept: Kept) -> pika.BasicProperties:
        """Return the properties of a copy: its source and type are those that the broker vouched for."""
        return pika.BasicProperties(
            message_id=kept.properties.message_id,
            content_type=kept.properties.content_type,
            type=kept.key.partition(".")[2],
            app_id=self._names.source(kept.exchange),
            delivery_mode=2,
        )

    async def _write(self, parcels: list[Parcel]) -> None:
        for error in await self._writer.publish(parcels) if parcels else []:
            if error is not None:
                raise error


def _matcher(pattern: str) -> Callable[[str], bool]:
    wanted = pattern.split(".")

    def matches(key: str) -> bool:
        words = key.split(".")[1:]  # the first is the service
        return len(words) == len(wanted) and all(b in {a, "*"} for a, b in zip(words, wanted, strict=True))

    return matches
