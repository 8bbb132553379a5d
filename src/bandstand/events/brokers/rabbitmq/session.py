"""Both connections to RabbitMQ, from the handshakes to the loss of one. It never comes back: the broker makes a new
one, so that there is one way only to come into a working state.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final

import pika

from bandstand.amqp import Connection
from bandstand.events.brokers.base import Binding, BrokerOptions, Outgoing, Receiver
from bandstand.events.brokers.rabbitmq.backfill import backfill
from bandstand.events.brokers.rabbitmq.consumer import Consumer
from bandstand.events.brokers.rabbitmq.history import record_and_read
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.publisher import Publisher
from bandstand.exceptions import BrokerError

__all__ = ["History", "Session", "read_history"]

_PATIENCE: Final = 5.0  # for subscriptions whose past is long; what is left of it comes while everything else works


class History:
    """The patterns of earlier releases, read once in the life of a process."""

    def __init__(self, read: Callable[[], Awaitable[dict[str, set[str]]]]) -> None:
        self._read = read
        self._patterns: dict[str, set[str]] | None = None
        self._lock = asyncio.Lock()

    async def of(self, subscription: str) -> set[str]:
        """Return those of ``subscription``: a set that the caller empties when it has dealt with them."""
        async with self._lock:
            if self._patterns is None:
                self._patterns = await self._read()
        return self._patterns.setdefault(subscription, set())


class Session:
    """Two connections, on the broker's event loop. ``changed`` is called when ``ready`` may have changed."""

    def __init__(
        self,
        parameters: pika.ConnectionParameters,
        options: BrokerOptions,
        names: Names,
        changed: Callable[[], None],
    ) -> None:
        self.lost = asyncio.Event()
        self._parameters = parameters
        self._options = options
        self._names = names
        self._changed = changed
        self._connections: list[Connection] = []
        self._publisher: Publisher | None = None
        self._consumers: list[Consumer] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """True if messages can be published."""
        return self._publisher is not None and self._publisher.ready and not self.lost.is_set()

    async def start(self) -> None:
        """Connect and make sure that exchange and archive are there.

        Raises:
            OSError, AMQPError: there is no connection, or the user may not do what is needed.
        """
        publisher = Publisher(await self._connect(), self._names, self._changed)
        await publisher.start()
        self._publisher = publisher

    async def consume(self, bindings: Collection[Binding], receiver: Receiver, history: History) -> None:
        """Begin to consume, and wait until all bindings are in place, or for a while.

        Raises:
            OSError, AMQPError: there is no connection.
        """
        connection = await self._connect()
        self._consumers = [
            Consumer(
                connection=connection,
                names=self._names,
                binding=binding,
                options=self._options,
                receiver=receiver,
                history=partial(history.of, binding.subscription),
                backfill=partial(backfill, self._parameters, self._names, binding),
            )
            for binding in bindings
        ]
        ready = [asyncio.ensure_future(consumer.ready.wait()) for consumer in self._consumers]
        if ready:
            _, late = await asyncio.wait(ready, timeout=_PATIENCE)
            for task in late:
                task.cancel()

    async def _connect(self) -> Connection:
        connection = Connection(self._parameters)
        self._connections.append(connection)
        await connection.opened()
        self._tasks.append(asyncio.create_task(self._watch(connection)))
        return connection

    async def _watch(self, connection: Connection) -> None:
        await connection.lost.wait()
        self.lost.set()

    async def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        """Publish all ``messages`` and wait for their confirmations."""
        assert self._publisher is not None
        return await self._publisher.publish(messages)

    async def stop_consuming(self) -> None:
        """Ask for no more messages."""
        await asyncio.gather(*(consumer.stop() for consumer in self._consumers))

    async def end(self) -> None:
        """Send what is still to be sent, and close. Never raises."""
        tasks = [*self._tasks, *(consumer.task for consumer in self._consumers)]
        if self._publisher:
            tasks += self._publisher.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for consumer in self._consumers:
            consumer.flush()
        if not self.lost.is_set():
            await asyncio.gather(*(consumer.leave() for consumer in self._consumers))
        await asyncio.gather(*(connection.close() for connection in self._connections))


async def read_history(
    parameters: pika.ConnectionParameters, names: Names, bindings: Collection[Binding]
) -> dict[str, set[str]]:
    """Record ``bindings`` and return what was recorded before, on a connection of its own.

    Raises:
        BrokerError: the server takes no messages now.
        OSError, AMQPError: there is no connection.
    """
    async with Connection.connected(parameters) as connection:
        return await record_and_read(connection, names, bindings)
