"""FastStream: events one after the other, and many at once, on RabbitMQ (confirmed, persistent) and on JetStream."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from exchange import Figure, Given, Message, answer
from faststream.nats import NatsBroker
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange

given = Given.read()
Send = Callable[[str, bytes], Awaitable[object]]


async def send_all(send: Send, messages: list[Message], in_flight: int) -> None:
    """Send with a sliding window: as many coroutines, each of which waits for the confirmation of its message."""
    waiting = iter([(name, json.dumps(event).encode()) for name, event in messages])

    async def work() -> None:
        for name, body in waiting:
            await send(name, body)

    await asyncio.gather(*(work() for _ in range(in_flight)))


def measure(runner: asyncio.Runner, send: Send) -> tuple[Figure, Figure]:
    """Return the figures of one after the other, and of many at once."""
    one = given.measure(lambda messages: runner.run(send_all(send, messages, 1)), share=4)
    many = given.measure(lambda messages: runner.run(send_all(send, messages, given.in_flight)))
    return one, many


def measure_brokers(runner: asyncio.Runner, rabbit: RabbitBroker, stream: NatsBroker) -> dict[str, Figure]:
    """Return the figures of both brokers."""
    exchange = RabbitExchange("peers.events", type=ExchangeType.TOPIC, durable=True)
    rabbitmq = measure(
        runner,
        lambda name, body: rabbit.publish(
            body, exchange=exchange, routing_key="order.placed", persist=True, mandatory=True, message_id=name
        ),
    )
    nats = measure(
        runner,
        lambda name, body: stream.publish(
            body, subject="peers.order.placed", stream="peers", headers={"Nats-Msg-Id": name}
        ),
    )
    return {"rabbitmq_one": rabbitmq[0], "rabbitmq_many": rabbitmq[1], "nats_one": nats[0], "nats_many": nats[1]}


with asyncio.Runner() as runner:
    rabbit, stream = RabbitBroker(given.broker), NatsBroker(given.nats)
    runner.run(rabbit.start())
    runner.run(stream.start())
    try:
        figures = measure_brokers(runner, rabbit, stream)
    finally:
        runner.run(rabbit.stop())
        runner.run(stream.stop())
answer(**figures)
