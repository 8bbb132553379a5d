"""The exchanges and queues of a service. Those that all share are declared by an administrator (bandstand.topology).

What exists keeps its configuration, which may be the operator's: a passive declaration, which needs no permission,
comes first.
"""

from typing import Final

from bandstand.amqp import Connection
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.exceptions import BrokerUnavailable

__all__ = ["Topology"]

_DAY: Final = 24 * 3600 * 1000  # milliseconds
_RETENTION: Final = 7 * _DAY
_HISTORY: Final = {
    "x-queue-type": "stream",
    "x-max-length-bytes": 2_000_000,
    "x-stream-max-segment-size-bytes": 500_000,
}
_SUBSCRIPTION: Final = {
    "x-queue-type": "quorum",
    "x-message-ttl": _RETENTION,
    # A subscription that is gone for good must not fill the disk. Who comes back later gets what the archive has.
    "x-expires": 2 * _RETENTION,
    # Never: a server of version 4 would drop a message after 20 deliveries. Attempts and deaths are counted by us.
    "x-delivery-limit": 2**31 - 1,
}


class Topology:
    """Declares, on channels of ``connection``."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    async def require_exchange(self) -> None:
        """Check that the exchange to which this service publishes exists, which an administrator has to declare.

        Raises:
            BrokerUnavailable: it does not.
        """
        if not await self._connection.exists(exchange=self._names.exchange):
            raise BrokerUnavailable(
                f"The exchange {self._names.exchange} is missing. `bandstand up` declares it; elsewhere an "
                f"administrator does: python -m bandstand.topology {self._names.platform} {self._names.service} …"
            )

    async def declare_inbound(self) -> None:
        """Declare the exchange by which this service gets events, and bind it to the shared one."""
        names = self._names
        if not await self._connection.exists(exchange=names.inbound):
            await self._declare_exchange(names.inbound, "topic", auto_delete=False)
        async with self._connection.borrowed() as channel:
            await channel.call(
                channel.raw.exchange_bind, destination=names.inbound, source=names.shared, routing_key="#"
            )

    async def declare_history(self) -> None:
        """Declare the stream of this service's subscriptions, unless it exists."""
        await self._declare_queue(self._names.history, _HISTORY)
        await self._bind(self._names.history, self._names.record)

    async def declare_queue(self, subscription: str) -> bool:
        """Declare the queue of a subscription, bound to no events yet; return whether it existed."""
        queue = self._names.queue(subscription)
        existed = await self._declare_queue(queue, _SUBSCRIPTION)
        await self._bind(queue, self._names.backfill(subscription))
        return existed

    async def delete_queue(self, subscription: str) -> None:
        """Delete the queue of a subscription with all that is in it."""
        async with self._connection.borrowed() as channel:
            await channel.call(channel.raw.queue_delete, queue=self._names.queue(subscription))

    async def bind_pattern(self, subscription: str, pattern: str) -> None:
        """Bring events of that pattern into the queue from now on."""
        await self._bind(self._names.queue(subscription), self._names.filter(pattern))

    async def is_backfilled(self, subscription: str, pattern: str) -> bool:
        """Return whether the queue has all events of that pattern since its backfill."""
        return await self._connection.exists(exchange=self._names.backfilled_mark(subscription, pattern))

    async def mark_backfilled(self, subscription: str, pattern: str) -> None:
        """Mark the queue as such. The mark is bound to the inbound exchange, and deleted with it and all bindings."""
        await self._mark(self._names.backfilled_mark(subscription, pattern))
        async with self._connection.borrowed() as channel:
            await channel.call(channel.raw.exchange_delete, exchange=self._names.recent_mark(subscription, pattern))

    async def is_recently_backfilled(self, subscription: str, pattern: str) -> bool:
        """Return whether the queue has all events of that pattern, but may not be on the server's disk yet."""
        return await self._connection.exists(exchange=self._names.recent_mark(subscription, pattern))

    async def mark_recently_backfilled(self, subscription: str, pattern: str) -> None:
        """Mark the queue as such; this mark is deleted with the inbound exchange too."""
        await self._mark(self._names.recent_mark(subscription, pattern))

    async def _mark(self, name: str) -> None:
        await self._declare_exchange(name, "fanout", auto_delete=True)
        async with self._connection.borrowed() as channel:
            await channel.call(channel.raw.exchange_bind, destination=self._names.inbound, source=name)

    async def forget_pattern(self, subscription: str, pattern: str) -> None:
        """Undo ``bind_pattern`` and ``mark_backfilled``; neither need have been done."""
        async with self._connection.borrowed() as channel:
            await channel.call(
                channel.raw.queue_unbind,
                queue=self._names.queue(subscription),
                exchange=self._names.inbound,
                routing_key=self._names.filter(pattern),
            )
            for mark in (self._names.backfilled_mark, self._names.recent_mark):
                await channel.call(channel.raw.exchange_delete, exchange=mark(subscription, pattern))

    async def _bind(self, queue: str, key: str) -> None:
        """Bind a queue to the inbound exchange; it may be bound already."""
        async with self._connection.borrowed() as channel:
            await channel.call(channel.raw.queue_bind, queue=queue, exchange=self._names.inbound, routing_key=key)

    async def _declare_exchange(self, name: str, kind: str, *, auto_delete: bool) -> None:
        async with self._connection.borrowed() as channel:
            await channel.call(
                channel.raw.exchange_declare, exchange=name, exchange_type=kind, durable=True, auto_delete=auto_delete
            )

    async def _declare_queue(self, name: str, arguments: dict[str, object]) -> bool:
        if await self._connection.exists(queue=name):
            return True
        async with self._connection.borrowed() as channel:
            await channel.call(channel.raw.queue_declare, queue=name, durable=True, arguments=dict(arguments))
        return False
