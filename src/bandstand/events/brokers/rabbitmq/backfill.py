"""The backfill of a new subscription's queue: a copy of what the archive holds.

The queue is bound only when the archive has been copied, and then the events until the binding took effect are copied
too. So nothing is missed, and old events come before new ones; around the moment of the binding an event may come
twice, which the inbox recognises, and out of order. The copy has a connection of its own, because a server that is
short of memory stops reading from connections that publish, and must still read what the consumers acknowledge.
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
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.publisher import ConfirmedChannel, PublishRequest
from bandstand.events.brokers.rabbitmq.stream import StreamMessage, read_stream
from bandstand.events.brokers.rabbitmq.topology import Topology

__all__ = ["backfill"]

logger: Final = logging.getLogger(__name__)

_SETTLING: Final = 0.1  # seconds from the answer to a binding until every process of the server routes by it


async def backfill(parameters: pika.ConnectionParameters, names: Names, binding: Binding) -> None:
    """Copy the archived events of ``binding`` into its queue, and bind it.

    Raises:
        BrokerError: the server takes no messages now.
        OSError, AMQPError: the connection is lost.
    """
    async with Connection.connected(parameters) as connection:
        copied = await _Backfill(connection, names, binding, await ConfirmedChannel.open(connection)).run()
    logger.info("Backfilled from the archive", extra={"subscription": binding.subscription, "events": copied})


class _Backfill:
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
        async with aclosing(read_stream(self._connection, self._names.archive)) as portions:
            mark = await self._mark()
            async for portion in portions:
                copied += await self._copy([message for message in portion if self._wants(message.key)])
                if all(message.properties.message_id != mark for message in portion):
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
        request = PublishRequest(exchange=self._names.exchange, key=self._names.mark, body=b"", properties=properties)
        await self._write([request])
        return mark

    async def _copy(self, messages: list[StreamMessage]) -> int:
        await self._write([self._copy_of(message) for message in messages])
        return len(messages)

    def _copy_of(self, message: StreamMessage) -> PublishRequest:
        """Return the message for this queue alone, with the source and type that the broker vouched for."""
        properties = pika.BasicProperties(
            message_id=message.properties.message_id,
            content_type=message.properties.content_type,
            type=message.key.partition(".")[2],
            app_id=self._names.source(message.exchange),
            delivery_mode=2,
        )
        return PublishRequest(exchange=self._names.inbound, key=self._key, body=message.body, properties=properties)

    async def _write(self, requests: list[PublishRequest]) -> None:
        for error in await self._writer.publish(requests) if requests else []:
            if error is not None:
                raise error


def _matcher(pattern: str) -> Callable[[str], bool]:
    wanted = pattern.split(".")

    def matches(key: str) -> bool:
        words = key.split(".")[1:]  # the first is the service
        return len(words) == len(wanted) and all(b in {a, "*"} for a, b in zip(words, wanted, strict=True))

    return matches
