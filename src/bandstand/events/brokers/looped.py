"""What brokers share whose client is asynchronous: an event loop on a thread of its own, and the way to it."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from threading import Event, Thread
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from bandstand.events.brokers.base import Binding, Broker, BrokerOptions, Outgoing, Receiver
from bandstand.events.brokers.happening import happens
from bandstand.exceptions import BrokerError, BrokerUnavailable

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "LoopedBroker"]

logger: Final = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
_PATIENCE: Final = 15.0  # longer than everything that a session waits for while it publishes


class BrokerSession(Protocol):
    """One connection, from its beginning to its end."""

    async def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]: ...

    async def stop_consuming(self) -> None: ...


S = TypeVar("S", bound=BrokerSession)


class LoopedBroker(Broker, Generic[S]):
    """A broker whose sessions live on its own event loop, one after the other, as ``_keep_connected`` makes them."""

    server: ClassVar[str]
    """The name of the server, for people and for the thread."""

    def __init__(self, url: str, options: BrokerOptions) -> None:
        super().__init__(url, options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name=f"bandstand-{self.server.lower()}", daemon=True)
        self._session: S | None = None
        self._changed: Callable[[], None] = lambda: None
        self._bindings: tuple[Binding, ...] = ()
        self._receiver: Receiver | None = None
        self._closing = asyncio.Event()
        self._opened = Event()
        self._closed = Event()
        self._trouble = ""

    @abstractmethod
    async def _keep_connected(self) -> None:
        """Have one session after the other, until ``_closing`` is set."""

    def open(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._thread.start()
        self._opened.wait()

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        session, loop = self._session, self._loop
        if session is None or loop is None:
            return [BrokerUnavailable(f"There is no connection to {self.server}.") for _ in messages]
        future = asyncio.run_coroutine_threadsafe(session.publish(messages), loop)
        try:
            return future.result(_PATIENCE)
        except TimeoutError:
            future.cancel()
            return [BrokerUnavailable(f"{self.server} did not confirm in time.") for _ in messages]

    def consume(self, bindings: Collection[Binding], receiver: Receiver) -> None:
        """Takes effect with the next session: call it before ``open``."""
        self._bindings = tuple(bindings)
        self._receiver = receiver

    def stop_consuming(self) -> None:
        session, loop, self._receiver = self._session, self._loop, None
        if session is not None and loop is not None:
            try:
                asyncio.run_coroutine_threadsafe(session.stop_consuming(), loop).result(_PATIENCE)
            except Exception as error:  # noqa: BLE001 - the connection broke just now, so nothing comes any more
                logger.debug("%s was not left in good order", self.server, extra={"error": str(error)})

    def close(self) -> None:
        if self._loop is not None and not self._closed.is_set():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._closed.wait(_PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._opened.set()
            try:
                runner.run(self._keep_connected())
            finally:
                self._closed.set()

    def _complain(self, trouble: str) -> None:
        """Once for each kind of trouble, not at each attempt."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning(trouble)

    async def _first_of(self, *events: asyncio.Event, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of asyncio.wait
        """Wait for one of ``events``, at most ``timeout`` seconds."""
        tasks = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _sleep(self, seconds: float) -> None:
        await happens(self._closing, seconds)
