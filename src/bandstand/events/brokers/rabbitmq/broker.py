"""The broker: an event loop on a thread of its own, and sessions on it, one after the other."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from functools import partial
from threading import Event, Thread
from typing import Final

from bandstand.events.brokers.base import Binding, Broker, BrokerOptions, Outgoing, Receiver
from bandstand.events.brokers.rabbitmq.link import TROUBLE, connection_parameters, explained
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.session import History, Session, read_history
from bandstand.exceptions import BrokerError, BrokerUnavailable

__all__ = ["RabbitMqBroker"]

logger: Final = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_PATIENCE: Final = 15.0  # longer than everything that a session waits for while it publishes


class RabbitMqBroker(Broker):
    """``amqp://user:password@host:port/virtual-host``, or ``amqps://`` for TLS."""

    def __init__(self, url: str, options: BrokerOptions) -> None:
        super().__init__(url, options)
        self._names = Names(platform=options.platform, service=options.service)
        self._parameters = connection_parameters(url, options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="bandstand-rabbitmq", daemon=True)
        self._session: Session | None = None
        self._was_connected = False
        self._changed: Callable[[], None] = lambda: None
        self._bindings: tuple[Binding, ...] = ()
        self._receiver: Receiver | None = None
        self._closing = asyncio.Event()
        self._opened = Event()
        self._closed = Event()
        self._trouble = ""

    @property
    def connected(self) -> bool:
        session = self._session
        return session is not None and session.ready

    def open(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._thread.start()
        self._opened.wait()

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        session, loop = self._session, self._loop
        if session is None or loop is None:
            return [BrokerUnavailable("There is no connection to RabbitMQ.") for _ in messages]
        future = asyncio.run_coroutine_threadsafe(session.publish(messages), loop)
        try:
            return future.result(_PATIENCE)
        except TimeoutError:
            future.cancel()
            return [BrokerUnavailable("RabbitMQ did not confirm in time.") for _ in messages]

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
                logger.debug("RabbitMQ was not left in good order", extra={"error": str(error)})

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

    async def _keep_connected(self) -> None:
        history = History(partial(read_history, self._parameters, self._names, self._bindings))
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            session = Session(self._parameters, self.options, self._names, self._tell)
            try:
                await self._begin(session, history)
                pause = _FIRST_PAUSE
                await self._first_of(session.lost, self._closing)
            except (BrokerError, *TROUBLE) as error:
                self._complain(str(explained(error, self.url)))
            except Exception:
                logger.exception("The connection to RabbitMQ failed in a way that it must not; connecting again")
            finally:
                self._session = None
                self._tell()
                await session.end()
            if not self._closing.is_set():
                await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(_LONGEST_PAUSE, pause * 2)

    async def _begin(self, session: Session, history: History) -> None:
        await session.start()
        if self._receiver is not None:
            await session.consume(self._bindings, self._receiver, history)
        self._trouble = ""
        self._session = session
        self._tell()
        logger.info(
            "Connected to RabbitMQ", extra={"exchange": self._names.exchange, "subscriptions": len(self._bindings)}
        )

    def _tell(self) -> None:
        connected = self.connected
        if connected == self._was_connected:
            return
        if not connected and not self._closing.is_set():
            logger.warning("RabbitMQ can't be published to; connecting again if the connection is lost")
        self._was_connected = connected
        self._changed()

    def _complain(self, trouble: str) -> None:
        """Once for each kind of trouble, not at each attempt."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning(trouble)

    async def _first_of(self, *events: asyncio.Event) -> None:
        tasks = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
