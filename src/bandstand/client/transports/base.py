"""The seam between a call and the network: one method, and how it may fail.

::

    TransportError
    ├── ConnectFailed      nothing was sent
    ├── ConnectionBroken   the connection ended before the answer was whole; the request may have been done
    ├── TimedOut           the time of the request is over
    ├── AnswerTooLarge     more bytes than the request allows
    └── NotHttp            what came is not HTTP

None of these leaves the client: a call turns them into the errors of ``bandstand.exceptions``.
"""

import asyncio
import time
from abc import ABC, abstractmethod

from bandstand.client.messages import Request, Response

__all__ = [
    "AnswerTooLarge",
    "AsyncTransport",
    "ConnectFailed",
    "ConnectionBroken",
    "NotHttp",
    "TimedOut",
    "Transport",
    "TransportError",
]


class TransportError(Exception):
    """One attempt brought no answer. The text names the instance and the reason, for the log."""


class ConnectFailed(TransportError):
    """No connection to the instance, so it has seen nothing of the request."""


class ConnectionBroken(TransportError):
    """The connection ended before the answer was whole. Whether the request was done is not known."""


class TimedOut(TransportError):
    """The instance did not answer within the request's time. Whether the request was done is not known."""


class AnswerTooLarge(TransportError):
    """The answer has more bytes than the request allows; the rest was not read."""


class NotHttp(TransportError):
    """Something else than an HTTP server answered."""


class Transport(ABC):
    """Sends one request and waits for its answer. Used by many threads at once."""

    @abstractmethod
    def send(self, request: Request) -> Response:
        """Return the answer, whatever its status. Never follows redirects, never uses a proxy.

        Raises:
            TransportError: there is no whole answer.
        """

    def pause(self, seconds: float) -> None:
        """Wait between two attempts."""
        time.sleep(seconds)


class AsyncTransport(ABC):
    """The same for coroutines. Used by many tasks, of several event loops, at once."""

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """As :meth:`Transport.send`."""

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts."""
        await asyncio.sleep(seconds)
