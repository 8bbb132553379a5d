"""Reading a stream from its beginning. It is never emptied by that, and many can read at once."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec
import pika

from bandstand.amqp import Connection

__all__ = ["StreamMessage", "read_stream"]

_PREFETCH: Final = 500
_PATIENCE: Final = 10.0


class StreamMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a stream."""

    exchange: str
    key: str
    body: bytes
    properties: pika.BasicProperties


async def read_stream(connection: Connection, stream: str) -> AsyncGenerator[list[StreamMessage], None]:
    """Yield what ``stream`` holds and what is added to it, in portions.

    Raises:
        OSError, AMQPError: the connection is lost, or nothing comes for 10 seconds.
    """
    arrived: asyncio.Queue[tuple[int, StreamMessage]] = asyncio.Queue()

    def arrive(channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        del channel
        message = StreamMessage(exchange=method.exchange, key=method.routing_key, body=body, properties=properties)
        arrived.put_nowait((method.delivery_tag, message))

    async with connection.borrowed() as channel:
        await channel.call(channel.raw.basic_qos, prefetch_count=_PREFETCH)
        await channel.call(
            channel.raw.basic_consume,
            queue=stream,
            on_message_callback=arrive,
            arguments={"x-stream-offset": "first"},
        )
        while True:
            async with asyncio.timeout(_PATIENCE):
                portion = [await arrived.get()]
            while not arrived.empty():
                portion.append(arrived.get_nowait())
            yield [message for _, message in portion]
            channel.raw.basic_ack(portion[-1][0], multiple=True)
