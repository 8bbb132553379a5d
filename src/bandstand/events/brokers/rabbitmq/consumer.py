"""The consumer of one subscription: its queue, its bindings and its deliveries."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import pika
from pika.spec import Basic

from bandstand import failpoints
from bandstand.amqp import TROUBLE, Channel, Connection
from bandstand.events.brokers.base import Binding, BrokerOptions, Incoming, Receiver
from bandstand.events.brokers.happening import happens
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.topology import Topology
from bandstand.exceptions import BrokerError

__all__ = ["Consumer", "RabbitMqIncoming"]

logger: Final = logging.getLogger(__name__)

_LONGEST_ID: Final = 200
_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0
_SETTLING: Final = 0.05  # seconds without a message after which none is on its way


class RabbitMqIncoming(Incoming):
    """A message and the delivery tag to settle it by."""

    __slots__ = ("_delivery", "tag")

    def __init__(
        self, delivery: "_Delivery", method: Basic.Deliver, properties: pika.BasicProperties, body: bytes
    ) -> None:
        times = (properties.headers or {}).get("x-delivery-count", 0)
        source, event_type = delivery.origin(method, properties)
        super().__init__(
            subscription=delivery.subscription,
            id=(properties.message_id or hashlib.sha256(body).hexdigest())[:_LONGEST_ID],
            body=body,
            repeated=bool(method.redelivered or times),
            source=source,
            type=event_type,
        )
        self.tag = method.delivery_tag
        self._delivery = delivery

    def acknowledge(self) -> None:
        self._delivery.acknowledge(self.tag)

    def release(self, delay: float) -> None:
        self._delivery.release(self.tag, delay)


class _Delivery:
    """The deliveries of one channel. When it is closed they all come again, and none can be settled here."""

    def __init__(self, channel: Channel, subscription: str, names: Names) -> None:
        self.subscription = subscription
        self._names = names
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, None] = {}  # delivery tags, in order
        self._acknowledged: list[int] = []
        self._flushing = False
        self._holding = False

    @property
    def size(self) -> int:
        """How many messages the server has not been told about."""
        return len(self._open)

    def hold(self, *, back: bool) -> None:
        """Hold acknowledgements back, so that the server brings no more than it may; or let them go again."""
        self._holding = back
        self.flush()

    def bring(self, receiver: Receiver, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes) -> None:
        self._open[method.delivery_tag] = None
        receiver(RabbitMqIncoming(self, method, properties, body))

    def origin(self, method: Basic.Deliver, properties: pika.BasicProperties) -> tuple[str, str]:
        """Return source and type. The exchange vouches for the source: a routing key can be another's."""
        if method.exchange == self._names.inbound:  # only this service may write there: a copy from the archive
            return properties.app_id or "", properties.type or ""
        return self._names.source(method.exchange), method.routing_key.partition(".")[2]

    def acknowledge(self, tag: int) -> None:
        """From any thread: what comes together goes in one frame."""
        self._acknowledged.append(tag)
        if not self._flushing:
            self._flushing = True
            with suppress(RuntimeError):  # the broker is closed, so the message comes again
                self._loop.call_soon_threadsafe(self.flush)

    def release(self, tag: int, delay: float) -> None:
        """From any thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.call_later, delay, self._give_back, tag)

    def flush(self) -> None:
        self._flushing = False
        if self._holding or not self._channel.raw.is_open:
            return
        tags, self._acknowledged = self._acknowledged, []
        tags = [tag for tag in tags if self._open.pop(tag, tag) is None]
        oldest = next(iter(self._open), None)
        together = [tag for tag in tags if oldest is None or tag < oldest]
        if together:
            self._channel.raw.basic_ack(max(together), multiple=True)
        for tag in tags:
            if oldest is not None and tag > oldest:
                self._channel.raw.basic_ack(tag)

    def _give_back(self, tag: int) -> None:
        if self._open.pop(tag, tag) is None and self._channel.raw.is_open:
            self._channel.raw.basic_nack(tag, requeue=True)


class Consumer:
    """Keeps a subscription declared and consumes it, on the channel of the moment, as long as the connection lives.

    ``history`` are the patterns that may be bound since earlier releases. ``backfill`` copies events from the archive.
    """

    check_every: float = 15.0
    """Seconds between checks of the queue and its bindings."""
    write_delay: float = 5.0
    """Seconds in which a new queue is written to disk; a server that is killed before may lose it (3.10 writes its name
    after three). Until then the queue does not count as backfilled, so the next process that connects does it again."""

    def __init__(
        self,
        *,
        connection: Connection,
        names: Names,
        binding: Binding,
        options: BrokerOptions,
        receiver: Receiver,
        history: Callable[[], Awaitable[set[str]]],
        backfill: Callable[[], Awaitable[None]],
    ) -> None:
        self.ready = asyncio.Event()
        self._connection = connection
        self._names = names
        self._topology = Topology(connection, names)
        self._binding = binding
        self._options = options
        self._receiver = receiver
        self._history = history
        self._backfill = backfill
        self._channel: Channel | None = None
        self._delivery: _Delivery | None = None
        self._tag = ""
        self._disturbed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._backfilled_at: float | None = None  # by this process, and not marked yet
        self._trouble = ""
        self.task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        pause = _PAUSE
        while not self._stopped and not self._connection.lost.is_set():
            try:
                existed = await self._begin()
                await self._complete(existed)
                self.ready.set()
                self._trouble, pause = "", _PAUSE
                await self._wait_for_change()
            except (BrokerError, *TROUBLE) as error:
                self._complain(error)
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)

    async def _begin(self) -> bool:
        """Declare the queue and consume it; return whether it existed."""
        try:
            await self._topology.declare_inbound()
            existed = await self._topology.declare_queue(self._binding.subscription)
            await self._consume()
        except TimeoutError:
            await self._delete_unwritten_queue()
            raise
        return existed

    async def _complete(self, existed: bool) -> None:
        """Bind the pattern and no other, after a backfill if the queue may have missed events.

        It may have if it or its mark was gone. With the mark of an earlier release's pattern it has not: then only the
        pattern has changed, and counts from now on.
        """
        subscription, pattern = self._binding.subscription, self._binding.pattern
        if existed and await self._topology.is_backfilled(subscription, pattern):
            await self._topology.bind_pattern(subscription, pattern)
        elif existed and await self._is_unmarked():
            await self._topology.bind_pattern(subscription, pattern)
            await self._mark_when_written()
        else:
            others = await self._history() - {pattern}  # which records ours, before it is bound
            if existed and any([await self._topology.is_backfilled(subscription, other) for other in others]):
                await self._topology.bind_pattern(subscription, pattern)
                await self._mark()
            else:
                await self._backfill()
                await self._topology.mark_recently_backfilled(subscription, pattern)
                self._backfilled_at = self._loop.time()
                if failpoints.switched_off("rabbitmq.write_delay"):
                    await self._mark()
        await self._forget_others()

    async def _is_unmarked(self) -> bool:
        """Return whether this process has backfilled the queue, and only the mark for good is missing."""
        subscription, pattern = self._binding.subscription, self._binding.pattern
        return self._backfilled_at is not None and await self._topology.is_recently_backfilled(subscription, pattern)

    async def _mark_when_written(self) -> None:
        if self._backfilled_at is not None and self._loop.time() >= self._backfilled_at + self.write_delay:
            await self._mark()

    async def _delete_unwritten_queue(self) -> None:
        """Delete the queue unless it is backfilled: a server that is killed early can come back with one that never
        answers again, and then confirms nothing that is routed to it. All that may be in it is in the archive."""
        with suppress(*TROUBLE):
            if not await self._topology.is_backfilled(self._binding.subscription, self._binding.pattern):
                await self._topology.delete_queue(self._binding.subscription)

    async def _mark(self) -> None:
        await self._topology.mark_backfilled(self._binding.subscription, self._binding.pattern)
        self._backfilled_at = None

    async def _forget_others(self) -> None:
        history = await self._history()
        for other in history - {self._binding.pattern}:
            await self._topology.forget_pattern(self._binding.subscription, other)
        history.clear()  # once for each process: the releases that boot later know better

    async def _consume(self) -> None:
        if self._channel is not None and self._channel.raw.is_open and not self._disturbed.is_set():
            return
        if self._channel is not None:
            await self._channel.close()
        self._disturbed.clear()
        self._channel = channel = await self._connection.channel()
        self._delivery = delivery = _Delivery(channel, self._binding.subscription, self._names)
        channel.raw.add_on_cancel_callback(lambda _: self._disturbed.set())  # the queue was deleted
        channel.closed.add_done_callback(lambda _: self._disturbed.set())
        await channel.call(channel.raw.basic_qos, prefetch_count=self._binding.room(self._options))

        def arrive(raw: Any, method: Basic.Deliver, properties: pika.BasicProperties, body: bytes) -> None:
            del raw
            delivery.bring(self._receiver, method, properties, body)

        queue = self._names.queue(self._binding.subscription)
        self._tag = f"{self._options.service}-{id(delivery):x}"
        try:
            await channel.call(
                channel.raw.basic_consume, queue=queue, on_message_callback=arrive, consumer_tag=self._tag
            )
        except TimeoutError:
            self._disturbed.set()  # else this channel would pass for one that consumes
            raise

    async def _wait_for_change(self) -> None:
        """Wait until the queue or the channel is gone, or until the next check."""
        unmarked = self._backfilled_at is not None
        await happens(self._disturbed, min(self.write_delay, self.check_every) if unmarked else self.check_every)

    async def stop(self) -> None:
        """Ask for no more messages. Those that are on their way still come before this returns.

        What the server has sent when it hears that nobody wants it any more goes back to the queue, and would count
        as brought before. So it is first kept from sending more.
        """
        self._stopped = True
        self.task.cancel()
        channel, delivery = self._channel, self._delivery
        if channel is None or delivery is None:
            return
        with suppress(*TROUBLE):
            delivery.hold(back=True)
            before = -1
            while before < delivery.size < self._binding.room(self._options):
                before = delivery.size
                await asyncio.sleep(_SETTLING)
            if channel.raw.is_open:
                await channel.call(channel.raw.basic_cancel, consumer_tag=self._tag)
            delivery.hold(back=False)

    async def leave(self) -> None:
        """Mark a new queue as backfilled, so that after an orderly end no process does it again."""
        with suppress(*TROUBLE):
            if await self._is_unmarked():
                await self._mark()

    def flush(self) -> None:
        """Send the acknowledgements that wait."""
        if self._delivery is not None:
            with suppress(*TROUBLE):
                self._delivery.flush()

    def _complain(self, error: Exception) -> None:
        """Once for each kind of trouble, not at each attempt."""
        if str(error) != self._trouble and not self._connection.lost.is_set():
            self._trouble = str(error)
            logger.warning(
                "The subscription can't be kept up",
                extra={"subscription": self._binding.subscription, "error": str(error) or repr(error)},
            )
