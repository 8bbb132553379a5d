"""Publishing: a channel in confirm mode, opened again when the server closes it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import pika
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from bandstand import failpoints
from bandstand.amqp import TROUBLE, Channel, Connection
from bandstand.events.brokers.base import Outgoing
from bandstand.events.brokers.happening import happens
from bandstand.events.brokers.outcomes import Outcomes
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.topology import Topology
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable

__all__ = ["ConfirmedChannel", "PublishRequest", "Publisher"]

logger: Final = logging.getLogger(__name__)

_CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_PAUSE: Final = 0.5
_FULL: Final = BrokerUnavailable("RabbitMQ takes no messages: its memory or disk is full.")
_CONFIRM_TIMEOUT: Final = 5.0
_REFUSED: Final = 403
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 406


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A message and where it goes."""

    exchange: str
    key: str
    body: bytes
    properties: pika.BasicProperties


class ConfirmedChannel:
    """Publishes with ``mandatory``, and waits until the server is responsible for each message."""

    def __init__(self, channel: Channel, connection: Connection) -> None:
        self.channel = channel
        self._connection = connection
        self._next = 1
        self._in_progress: dict[int, tuple[Outcomes, int, PublishRequest]] = {}  # by delivery tag, in order
        self._returned: dict[str, str] = {}  # message id -> why nobody gets it
        self._waits = not failpoints.switched_off("rabbitmq.confirms")
        self._mandatory = not failpoints.switched_off("rabbitmq.mandatory")

    @classmethod
    async def open(cls, connection: Connection) -> "ConfirmedChannel":
        """Return one on ``connection``."""
        channel = await connection.channel()
        confirmed = cls(channel, connection)
        channel.raw.add_on_return_callback(confirmed._on_return)
        channel.closed.add_done_callback(lambda closed: confirmed._on_close(closed.result()))
        await channel.call(channel.raw.confirm_delivery, ack_nack_callback=confirmed._on_confirm)
        return confirmed

    async def publish(self, requests: Sequence[PublishRequest]) -> list[BrokerError | None]:
        """Publish all ``requests``, then wait for their confirmations; return their errors, in order."""
        if not self.channel.raw.is_open:
            return [BrokerUnavailable("The channel was closed.")] * len(requests)
        outcomes = Outcomes(len(requests))
        with self._connection.in_one_piece():
            for index, request in enumerate(requests):
                self._in_progress[self._next] = (outcomes, index, request)
                self._next += 1
                self.channel.raw.basic_publish(
                    request.exchange, request.key, request.body, request.properties, mandatory=self._mandatory
                )
        if not self._waits:
            return [None] * len(requests)
        return await outcomes.settled(_CONFIRM_TIMEOUT, BrokerUnavailable("RabbitMQ did not confirm in time."))

    def _on_return(self, channel: Any, method: Basic.Return, properties: pika.BasicProperties, body: bytes) -> None:
        """Comes before the confirmation, which says only that the server is done with the message."""
        del channel, body
        self._returned[properties.message_id or ""] = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        outcome = None if isinstance(method, Basic.Ack) else BrokerUnavailable("RabbitMQ could not keep the message.")
        if not method.multiple:
            self._settle(method.delivery_tag, outcome)
            return
        for tag in list(self._in_progress):
            if tag > method.delivery_tag:
                break
            self._settle(tag, outcome)

    def _settle(self, tag: int, error: BrokerError | None) -> None:
        outcomes, index, request = self._in_progress.pop(tag)
        why = self._returned.pop(request.properties.message_id, "") if self._returned else ""
        if why:
            error = Unroutable(f"No queue takes {request.key!r} ({why}); an administrator has to bind the archive.")
        outcomes.settle(index, error)

    def _on_close(self, reason: BaseException) -> None:
        in_progress, self._in_progress = self._in_progress, {}
        for outcomes, index, request in in_progress.values():
            outcomes.settle(index, _blamed(request, reason))


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
        outcomes = await channel.publish([self._request(message) for message in messages])
        if any(isinstance(outcome, Unroutable) for outcome in outcomes):
            self._missing.set()
        if self._connection.blocked:
            return [_FULL if isinstance(outcome, BrokerUnavailable) else outcome for outcome in outcomes]
        return outcomes

    def _request(self, message: Outgoing) -> PublishRequest:
        return PublishRequest(
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


def _blamed(request: PublishRequest, reason: BaseException) -> BrokerError:
    """The server closes the whole channel over one message: find out over which."""
    code, text = (reason.reply_code, reason.reply_text) if isinstance(reason, ChannelClosedByBroker) else (0, "")
    if code == _TOO_LARGE and f"message size {len(request.body)} " in text:
        return BrokerError(f"The event has {len(request.body):,} bytes; this RabbitMQ refuses it: {text}")
    if code == _REFUSED and ("topic" not in text or f"'{request.key}'" in text):
        return BrokerError(f"RabbitMQ refuses it; the permissions of the user must be changed: {text}")
    if code == _NOT_FOUND:
        return Unroutable(f"The exchange is gone; an administrator has to declare it again: {text}")
    return BrokerUnavailable(f"RabbitMQ did not confirm before the channel was closed: {text or reason!r}")
