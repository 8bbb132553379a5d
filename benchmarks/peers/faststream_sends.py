"""FastStream: events one after the other, and 250 at once, on RabbitMQ (confirmed, persistent) and on JetStream."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from exchange import Given, answer
from faststream.nats import NatsBroker
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange

BATCH = 250
given = Given.read()
messages = [(str(event["id"]), json.dumps(event).encode()) for event in given.events]


async def measure(send: Callable[[str, bytes], Awaitable[object]]) -> tuple[float, float]:
    """Return the seconds for each event, one after the other and many at once."""
    few = messages[: len(messages) // 4]
    await asyncio.gather(*(send(*message) for message in few[:50]))
    begun = time.perf_counter()
    for message in few:
        await send(f"{message[0]}-again", message[1])
    one = (time.perf_counter() - begun) / len(few)
    begun = time.perf_counter()
    for first in range(0, len(messages), BATCH):
        await asyncio.gather(*(send(*message) for message in messages[first : first + BATCH]))
    return one, (time.perf_counter() - begun) / len(messages)


async def main() -> None:
    """Both brokers."""
    exchange = RabbitExchange("peers.events", type=ExchangeType.TOPIC, durable=True)
    async with RabbitBroker(given.broker) as rabbit:
        rabbitmq = await measure(
            lambda name, body: rabbit.publish(
                body, exchange=exchange, routing_key="order.placed", persist=True, mandatory=True, message_id=name
            )
        )
    async with NatsBroker(given.nats) as stream:
        nats = await measure(
            lambda name, body: stream.publish(
                body, subject="peers.order.placed", stream="peers", headers={"Nats-Msg-Id": name}
            )
        )
    answer(rabbitmq_one=rabbitmq[0], rabbitmq_many=rabbitmq[1], nats_one=nats[0], nats_many=nats[1])


asyncio.run(main())
