"""The publishing half: a confirmed channel, opened again when the server closes it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import pika

from bandstand.amqp import TROUBLE, Connection
from bandstand.events.brokers.base import Outgoing
from bandstand.events.brokers.happening import happens
from bandstand.events.brokers.rabbitmq.confirms import ConfirmedChannel, Parcel
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.topology import Topology
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable

__all__ = ["Publisher"]

logger: Final = logging.getLogger(__name__)

_CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_PAUSE: Final = 0.5
_FULL: Final = BrokerUnavailable("RabbitMQ takes no messages: its memory or disk is full.")


class Publisher:
    """Publishes on ``connection``; ``changed`` is called when ``ready`` may have changed."""

    check_every: float = 15.0
    """Seconds after which the exchange is looked for again."""

    def __init__(self, connection: Connection, names: Names, changed: Callable[[], None]) -> None:
        self._connection = connection
        self._names = names
        self._topology = Topology(connection, names)
        self._changed = changed
        self._channel: ConfirmedChannel | None = None
        self._missing = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        connection.on_blocked = self._on_blocked

    @property
    def ready(self) -> bool:
        return self._channel is not None and not self._connection.blocked

    async def start(self) -> None:
        """Open a channel.

        Raises:
            BrokerUnavailable: the exchange of this service is missing.
            OSError, AMQPError: the connection is lost.
        """
        await self._topology.require_exchange()
        await self._open()
        self.tasks.append(asyncio.create_task(self._watch()))

    async def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        """Publish all ``messages`` and wait for their confirmations."""
        channel = self._channel
        if self._connection.blocked:
            return [_FULL] * len(messages)
        if channel is None:
            return [BrokerUnavailable("The channel to RabbitMQ is being opened again.")] * len(messages)
        outcomes = await channel.publish([self._parcel(message) for message in messages])
        if any(isinstance(outcome, Unroutable) for outcome in outcomes):
            self._missing.set()
        if self._connection.blocked:
            return [_FULL if isinstance(outcome, BrokerUnavailable) else outcome for outcome in outcomes]
        return outcomes

    def _parcel(self, message: Outgoing) -> Parcel:
        return Parcel(
            exchange=self._names.exchange,
            key=self._names.key(message.type),
            body=message.body,
            properties=pika.BasicProperties(
                message_id=message.id,
                type=message.type,
                app_id=self._names.service,
                content_type=_CONTENT_TYPE,
                delivery_mode=2,
            ),
        )

    async def _open(self) -> None:
        self._channel = opened = await ConfirmedChannel.open(self._connection)
        opened.channel.closed.add_done_callback(lambda _: self._on_closed(opened))
        self._changed()

    def _on_closed(self, channel: ConfirmedChannel) -> None:
        if self._channel is channel:
            self._channel = None
            self._missing.set()
            self._changed()

    async def _watch(self) -> None:
        while not self._connection.lost.is_set():
            await happens(self._missing, self.check_every)
            try:
                self._missing.clear()
                await self._topology.require_exchange()
                if self._channel is None:
                    await self._open()
            except (BrokerError, *TROUBLE) as error:
                if not self._connection.lost.is_set():
                    logger.warning("Nothing can be published", extra={"error": str(error)})
                    self._missing.set()
                    await asyncio.sleep(_PAUSE)

    def _on_blocked(self) -> None:
        if self._connection.blocked:
            logger.error("RabbitMQ takes no messages: its memory or disk is full. Events wait in the outbox.")
        else:
            logger.info("RabbitMQ takes messages again")
        self._changed()
