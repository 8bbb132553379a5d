"""What became of the messages of one call."""

import asyncio

from bandstand.events.brokers.happening import happens
from bandstand.exceptions import BrokerError

__all__ = ["Outcomes"]


class Outcomes:
    """An error or None for each of ``count`` messages, in their order; all on one event loop."""

    def __init__(self, count: int) -> None:
        self.errors: list[BrokerError | None] = [None] * count
        self._open = set(range(count))
        self._done = asyncio.Event()

    def settle(self, index: int, error: BrokerError | None) -> None:
        """Say what became of a message; what is said later does not count."""
        if index in self._open:
            self.errors[index] = error
            self._open.remove(index)
        if not self._open:
            self._done.set()

    async def settled(self, timeout: float, otherwise: BrokerError) -> list[BrokerError | None]:  # noqa: ASYNC109
        """Wait at most ``timeout`` seconds for all; return the errors: ``otherwise`` for what is not by then."""
        if self._open and not await happens(self._done, timeout):
            for index in list(self._open):
                self.settle(index, otherwise)
        return self.errors
