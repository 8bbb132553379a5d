"""The number of messages that wait, on a connection of its own that is closed after the answer; declares nothing."""

import asyncio
from collections.abc import Collection

import pika

from bandstand.amqp import Connection
from bandstand.events.brokers.base import Waiting
from bandstand.events.brokers.rabbitmq.names import Names

__all__ = ["count_waiting"]


def count_waiting(
    parameters: pika.ConnectionParameters, names: Names, subscriptions: Collection[str], timeout: float
) -> dict[str, Waiting]:
    """Return what waits for each subscription that has a queue, within ``timeout`` seconds.

    The server tells what lies in a queue, and not what it has brought.

    Raises:
        OSError, AMQPError: there was no answer.
    """
    return asyncio.run(_count_waiting(parameters, names, subscriptions, timeout))


async def _count_waiting(
    parameters: pika.ConnectionParameters, names: Names, subscriptions: Collection[str], patience: float
) -> dict[str, Waiting]:
    waiting: dict[str, Waiting] = {}
    async with asyncio.timeout(patience), Connection.connected(parameters) as connection:
        for subscription in subscriptions:
            count = await connection.count(names.queue(subscription))
            if count is not None:
                waiting[subscription] = Waiting(pending=count, unsettled=None)
    return waiting
