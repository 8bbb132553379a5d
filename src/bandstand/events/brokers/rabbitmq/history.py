"""The subscriptions of earlier releases of this service, so that their bindings can be removed.

RabbitMQ tells nobody over AMQP what is bound to what. So each process, when it boots, first adds its own
subscriptions to a stream, then reads the stream up to there, and then binds: whatever may be bound is in the stream,
whenever somebody dies on the way. Unbinding what is not bound does nothing, so the stream needs no other upkeep.
"""

from collections import defaultdict
from collections.abc import Collection
from contextlib import aclosing
from typing import Final
from uuid import uuid4

import msgspec
import pika

from bandstand.amqp import Connection
from bandstand.events.brokers.base import Binding
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.publisher import ConfirmedChannel, PublishRequest
from bandstand.events.brokers.rabbitmq.stream import StreamMessage, read_stream
from bandstand.events.brokers.rabbitmq.topology import Topology

__all__ = ["record_and_read"]

_decoder: Final = msgspec.json.Decoder(dict[str, str])


async def record_and_read(connection: Connection, names: Names, bindings: Collection[Binding]) -> dict[str, set[str]]:
    """Add ``bindings`` to the history; return the patterns of before, by subscription.

    Raises:
        BrokerError: the server takes no messages now.
        OSError, AMQPError: the connection is lost.
    """
    topology = Topology(connection, names)
    await topology.declare_inbound()
    await topology.declare_history()
    own = uuid4().hex
    found: dict[str, set[str]] = defaultdict(set)
    async with aclosing(read_stream(connection, names.history)) as portions:
        await _record(connection, names, bindings, own)
        async for portion in portions:
            for message in portion:
                if message.properties.message_id == own:
                    return dict(found)
                _learn(message, found)
    raise TimeoutError("The history ended before our own record.")


async def _record(connection: Connection, names: Names, bindings: Collection[Binding], own: str) -> None:
    body = msgspec.json.encode({binding.subscription: binding.pattern for binding in bindings})
    properties = pika.BasicProperties(message_id=own, delivery_mode=2, content_type="application/json")
    confirmed = await ConfirmedChannel.open(connection)
    request = PublishRequest(exchange=names.inbound, key=names.record, body=body, properties=properties)
    [error] = await confirmed.publish([request])
    await confirmed.channel.close()
    if error is not None:
        raise error


def _learn(message: StreamMessage, found: dict[str, set[str]]) -> None:
    try:
        record = _decoder.decode(message.body)
    except msgspec.MsgspecError:  # not one of ours
        return
    for subscription, pattern in record.items():
        found[subscription].add(pattern)
