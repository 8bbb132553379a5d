"""The broker: an event loop on a thread of its own, and sessions on it, one after the other."""

import logging
import random
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from bandstand.events.brokers.base import BrokerOptions, Waiting
from bandstand.events.brokers.looped import FIRST_PAUSE, LONGEST_PAUSE, LoopedBroker
from bandstand.events.brokers.nats.asking import ask
from bandstand.events.brokers.nats.gaps import GapWatch
from bandstand.events.brokers.nats.names import Names
from bandstand.events.brokers.nats.session import Session
from bandstand.exceptions import BrokerError

__all__ = ["NatsBroker"]

logger: Final = logging.getLogger(__name__)

_LOOK: Final = 0.25  # seconds until a session is asked again: see ``Session.alive``


class NatsBroker(LoopedBroker[Session]):
    """``nats://user:password@host:port``."""

    server = "NATS"

    def __init__(self, url: str, options: BrokerOptions) -> None:
        super().__init__(url, options)
        self._names = Names(platform=options.platform, service=options.service)
        self._gaps = GapWatch()

    @property
    def connected(self) -> bool:
        return self._session is not None

    def waiting(self, subscriptions: Collection[str], timeout: float) -> dict[str, Waiting]:
        return ask(urlsplit(self.url), self._names, subscriptions, timeout)

    async def _keep_connected(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            session = Session(urlsplit(self.url), self.options, self._names, self._gaps)
            try:
                await self._begin(session)
                pause = FIRST_PAUSE
                while session.alive and not self._closing.is_set():
                    await self._first_of(session.lost, self._closing, timeout=_LOOK)
            except BrokerError as error:
                self._complain(str(error))
            finally:
                self._switch_to(None)
                await session.end()
            if not self._closing.is_set():
                await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(LONGEST_PAUSE, pause * 2)

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
