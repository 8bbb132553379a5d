"""The broker: an event loop on a thread of its own, and sessions on it, one after the other."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from threading import Event, Thread
from typing import Final
from urllib.parse import urlsplit

from bandstand.events.brokers.base import Binding, Broker, BrokerOptions, Outgoing, Receiver, Waiting
from bandstand.events.brokers.nats.asking import ask
from bandstand.events.brokers.nats.names import Names
from bandstand.events.brokers.nats.session import Session
from bandstand.exceptions import BrokerError, BrokerUnavailable

__all__ = ["NatsBroker"]

logger: Final = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_LOOK: Final = 0.25
_PATIENCE: Final = 15.0  # longer than everything that a session waits for while it publishes


class NatsBroker(Broker):
    """``nats://user:password@host:port``."""

    def __init__(self, url: str, options: BrokerOptions) -> None:
        super().__init__(url, options)
        self._names = Names(platform=options.platform, service=options.service)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="bandstand-nats", daemon=True)
        self._session: Session | None = None
        self._changed: Callable[[], None] = lambda: None
        self._bindings: tuple[Binding, ...] = ()
        self._receiver: Receiver | None = None
        self._closing = asyncio.Event()
        self._opened = Event()
        self._closed = Event()
        self._trouble = ""

    @property
    def connected(self) -> bool:
        return self._session is not None

    def open(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._thread.start()
        self._opened.wait()

    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        session, loop = self._session, self._loop
        if session is None or loop is None:
            return [BrokerUnavailable("There is no connection to NATS.") for _ in messages]
        future = asyncio.run_coroutine_threadsafe(session.publish(messages), loop)
        try:
            return future.result(_PATIENCE)
        except TimeoutError:
            future.cancel()
            return [BrokerUnavailable("NATS did not confirm in time.") for _ in messages]

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
                logger.debug("NATS was not left in good order", extra={"error": str(error)})

    def close(self) -> None:
        if self._loop is not None and not self._closed.is_set():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._closed.wait(_PATIENCE)

    def waiting(self, subscriptions: Collection[str], timeout: float) -> dict[str, Waiting]:
        return ask(urlsplit(self.url), self._names, subscriptions, timeout)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._opened.set()
            try:
                runner.run(self._keep_connected())
            finally:
                self._closed.set()

    async def _keep_connected(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            session = Session(urlsplit(self.url), self.options, self._names)
            try:
                await self._begin(session)
                pause = _FIRST_PAUSE
                while session.alive and not self._closing.is_set():
                    await self._first_of(session.lost, self._closing)
            except BrokerError as error:
                self._complain(str(error))
            finally:
                self._switch_to(None)
                await session.end()
            if not self._closing.is_set():
                await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(_LONGEST_PAUSE, pause * 2)

    async def _begin(self, session: Session) -> None:
        await session.start()
        if self._receiver is not None:
            await session.consume(self._bindings, self._receiver)
        self._trouble = ""
        self._switch_to(session)
        logger.info("Connected to NATS", extra={"stream": self._names.stream, "subscriptions": len(self._bindings)})

    def _switch_to(self, session: Session | None) -> None:
        if session is not self._session:
            if session is None and not self._closing.is_set():
                logger.warning("The connection to NATS is lost; connecting again")
            self._session = session
            self._changed()

    def _complain(self, trouble: str) -> None:
        """Once for each kind of trouble, not at each attempt."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning(trouble)

    async def _first_of(self, *events: asyncio.Event) -> None:
        """Wait for one of ``events``, but not for ever: see ``Session.alive``."""
        tasks = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(tasks, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
