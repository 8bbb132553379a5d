"""The broker: an event loop on a thread of its own, and sessions on it, one after the other."""

import logging
import random
from collections.abc import Collection
from functools import partial
from typing import Final

from bandstand.amqp import TROUBLE
from bandstand.events.brokers.base import BrokerOptions, Waiting
from bandstand.events.brokers.looped import FIRST_PAUSE, LONGEST_PAUSE, LoopedBroker
from bandstand.events.brokers.rabbitmq.connection import connection_parameters, explained
from bandstand.events.brokers.rabbitmq.names import Names
from bandstand.events.brokers.rabbitmq.queries import count_waiting
from bandstand.events.brokers.rabbitmq.session import History, Session, read_history
from bandstand.exceptions import BrokerError, BrokerUnavailable

__all__ = ["RabbitMqBroker"]

logger: Final = logging.getLogger(__name__)


class RabbitMqBroker(LoopedBroker[Session]):
    """``amqp://user:password@host:port/virtual-host``, or ``amqps://`` for TLS."""

    server = "RabbitMQ"

    def __init__(self, url: str, options: BrokerOptions) -> None:
        super().__init__(url, options)
        self._names = Names(platform=options.platform, service=options.service)
        self._parameters = connection_parameters(url, options)
        self._was_connected = False

    @property
    def connected(self) -> bool:
        session = self._session
        return session is not None and session.ready

    def waiting(self, subscriptions: Collection[str], timeout: float) -> dict[str, Waiting]:
        try:
            return count_waiting(self._parameters, self._names, subscriptions, timeout)
        except TROUBLE as error:
            raise BrokerUnavailable(f"{explained(error, self.url)} What waits there is not known.") from error

    async def _keep_connected(self) -> None:
        history = History(partial(read_history, self._parameters, self._names, self._bindings))
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            session = Session(self._parameters, self.options, self._names, self._tell)
            try:
                await self._begin(session, history)
                pause = FIRST_PAUSE
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
                pause = min(LONGEST_PAUSE, pause * 2)

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
