"""Events that the stream dropped before a subscription got them.

The stream that is made here keeps seven days of events, however many they are. One that an operator made may have a
limit of messages, bytes or age and drop its oldest message for each new one, also one that nobody has read yet. NATS
reports that to nobody: the consumer just goes on with the next message.

What is pending for a consumer lies at or below the last sequence number of the stream. Once the stream begins above
that number, all of it that was not delivered meanwhile is gone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from nats.js import JetStreamContext

from bandstand.events import metrics
from bandstand.events.brokers.nats.pull import TROUBLE

__all__ = ["GapWatch", "Look"]

logger: Final = logging.getLogger(__name__)

_INTERVAL: Final = 10.0  # seconds between two looks
_MOST_LOOKS: Final = 10_000  # that are kept for a subscription which gets nothing for long


class Look(NamedTuple):
    """A consumer at one moment: its messages that wait, how often it was given one, and the stream's last number."""

    pending: int
    delivered: int
    last: int

    def lost(self, delivered: int) -> int:
        """Return how many of the pending messages were not delivered until the consumer had been given ``delivered``.

        A message that is delivered again counts each time, so it is at least that many.
        """
        return max(0, self.pending - (delivered - self.delivered))


class GapWatch:
    """Looks at the consumers of a service every few seconds, and logs and counts the events that they missed.

    It outlives a connection. What is dropped while no worker runs is not seen.
    """

    def __init__(self) -> None:
        self._looks: dict[str, deque[Look]] = {}

    def missed(self, subscription: str, *, first: int, now: Look) -> int:
        """Return how many events ``subscription`` has missed since the last look.

        ``first`` is the first sequence number that the stream still holds.
        """
        looks = self._looks.setdefault(subscription, deque(maxlen=_MOST_LOOKS))
        if looks and (now.delivered < looks[-1].delivered or now.last < looks[-1].last):
            looks.clear()  # the consumer or the stream was made anew, and counts from the beginning
        lost = max((look.lost(now.delivered) for look in looks if look.last < first), default=0)
        if lost:
            looks.clear()  # later looks saw some of the same messages
        while looks and not looks[0].lost(now.delivered):
            looks.popleft()
        looks.append(now)
        return lost

    async def watch(self, stream: JetStreamContext, name: str, consumers: Mapping[str, str]) -> None:
        """Look every few seconds, for ever; ``consumers`` are those of the stream ``name`` with their subscriptions."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self._look(stream, name, consumers)
            except TROUBLE as error:  # the next look is made on another connection, or when the server answers again
                logger.debug("The consumers could not be looked at", extra={"error": str(error)})

    async def _look(self, stream: JetStreamContext, name: str, consumers: Mapping[str, str]) -> None:
        """Ask in this order, so that an event that is delivered or published meanwhile never counts as lost."""
        first = (await stream.stream_info(name)).state.first_seq
        seen = {consumer: await stream.consumer_info(name, consumer) for consumer in consumers}
        last = (await stream.stream_info(name)).state.last_seq
        for consumer, info in seen.items():
            delivered = info.delivered.consumer_seq if info.delivered else 0
            look = Look(pending=info.num_pending or 0, delivered=delivered, last=last)
            if lost := self.missed(consumers[consumer], first=first, now=look):
                _report(consumers[consumer], name, lost)


def _report(subscription: str, stream: str, lost: int) -> None:
    metrics.missed.labels(subscription).inc(lost)
    logger.error(
        "The broker dropped events that this subscription has not got yet: a limit of the stream is too low, or "
        "somebody removed them. Raise the limit; publish them again from where they came",
        extra={"subscription": subscription, "stream": stream, "at_least": lost},
    )
