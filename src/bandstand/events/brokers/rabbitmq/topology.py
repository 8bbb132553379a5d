"""What is declared at the server. What exists keeps its configuration, which may be the operator's.

So it is asked for first, which needs no permission, and made only where it is not. A user may then be allowed to
configure nothing but what begins with the name of its service.
"""

from typing import Final

from bandstand.events.brokers.rabbitmq.link import Link
from bandstand.events.brokers.rabbitmq.names import Names

__all__ = ["ARCHIVE", "Topology"]

_DAY: Final = 24 * 3600 * 1000  # milliseconds
_RETENTION: Final = 7 * _DAY
ARCHIVE: Final = {
    "x-queue-type": "stream",
    "x-max-age": "7D",
    # Whole segments are dropped, so they must not be large for the age to mean something.
    "x-stream-max-segment-size-bytes": 50_000_000,
}
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
    """Declares, on channels of ``link``."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._names = names

    async def declare_platform(self) -> None:
        """Make exchange and archive, unless they exist."""
        names = self._names
        if not await self._link.exists(exchange=names.exchange):
            await self._declare_exchange(names.exchange, "topic", auto_delete=False)
        await self._declare_queue(names.archive, ARCHIVE)
        await self.bind(names.archive, names.exchange, "#")

    async def declare_history(self) -> None:
        """Make the stream of this service's subscriptions, unless it exists."""
        await self._declare_queue(self._names.history, _HISTORY)
        await self.bind(self._names.history, self._names.exchange, self._names.record)

    async def declare_queue(self, subscription: str) -> bool:
        """Make the queue of a subscription, not bound to any events yet; say whether it existed."""
        queue = self._names.queue(subscription)
        existed = await self._declare_queue(queue, _SUBSCRIPTION)
        if not await self._link.exists(exchange=queue):
            await self._declare_exchange(queue, "fanout", auto_delete=True)
        await self.bind(queue, queue, "")
        return existed

    async def delete_queue(self, subscription: str) -> None:
        """Delete the queue of a subscription with all that is in it."""
        async with self._link.borrowed() as channel:
            await channel.call(channel.raw.queue_delete, queue=self._names.queue(subscription))

    async def bind_pattern(self, subscription: str, pattern: str) -> None:
        """Bring events of that pattern into the queue from now on."""
        await self.bind(self._names.queue(subscription), self._names.exchange, self._names.filter(pattern))

    async def is_whole(self, subscription: str, pattern: str) -> bool:
        """Say whether the queue has got all events of that pattern since it began."""
        return await self._link.exists(exchange=self._names.whole(subscription, pattern))

    async def mark_whole(self, subscription: str, pattern: str) -> None:
        """Record that it has. The mark is bound to the exchange, and vanishes with it and all bindings."""
        await self._mark(self._names.whole(subscription, pattern))
        async with self._link.borrowed() as channel:
            await channel.call(channel.raw.exchange_delete, exchange=self._names.young(subscription, pattern))

    async def is_young(self, subscription: str, pattern: str) -> bool:
        """Say whether the queue has got all events of that pattern, but may still be forgotten by the server."""
        return await self._link.exists(exchange=self._names.young(subscription, pattern))

    async def mark_young(self, subscription: str, pattern: str) -> None:
        """Record that; this mark vanishes with the exchange, too."""
        await self._mark(self._names.young(subscription, pattern))

    async def _mark(self, name: str) -> None:
        await self._declare_exchange(name, "fanout", auto_delete=True)
        async with self._link.borrowed() as channel:
            await channel.call(channel.raw.exchange_bind, destination=self._names.exchange, source=name)

    async def forget_pattern(self, subscription: str, pattern: str) -> None:
        """Undo ``bind_pattern`` and ``mark_whole``; neither need have been done."""
        async with self._link.borrowed() as channel:
            await channel.call(
                channel.raw.queue_unbind,
                queue=self._names.queue(subscription),
                exchange=self._names.exchange,
                routing_key=self._names.filter(pattern),
            )
            for name in (self._names.whole(subscription, pattern), self._names.young(subscription, pattern)):
                await channel.call(channel.raw.exchange_delete, exchange=name)

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        """Bind a queue; it may be bound already."""
        async with self._link.borrowed() as channel:
            await channel.call(channel.raw.queue_bind, queue=queue, exchange=exchange, routing_key=key)

    async def _declare_exchange(self, name: str, kind: str, *, auto_delete: bool) -> None:
        async with self._link.borrowed() as channel:
            await channel.call(
                channel.raw.exchange_declare, exchange=name, exchange_type=kind, durable=True, auto_delete=auto_delete
            )

    async def _declare_queue(self, name: str, arguments: dict[str, object]) -> bool:
        if await self._link.exists(queue=name):
            return True
        async with self._link.borrowed() as channel:
            await channel.call(channel.raw.queue_declare, queue=name, durable=True, arguments=dict(arguments))
        return False
