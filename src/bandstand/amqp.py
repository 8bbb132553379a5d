"""An AMQP connection and its channels, as coroutines over pika's callbacks. Neither ever comes back: make a new one."""

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPConnectionError, AMQPError, ChannelClosedByBroker

__all__ = ["TROUBLE", "Channel", "Connection", "url_parameters"]

logger: Final = logging.getLogger(__name__)

TROUBLE: Final = (OSError, AMQPError)
"""The errors of a connection, a channel or the server; time-outs are an OSError."""

_CONNECT_TIMEOUT: Final = 3.0
_CALL_TIMEOUT: Final = 10.0
_CLOSE_TIMEOUT: Final = 2.0
_SILENCE: Final = 10_000  # milliseconds that sent bytes may stay unacknowledged by the other machine
_NOT_FOUND: Final = 404

# pika logs each closed channel and each failed connection, with tracebacks. Here both are ordinary, and told in words.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def url_parameters(url: str) -> pika.ConnectionParameters:
    """Return what ``amqp://user:password@host:port/virtual-host`` means; ``amqps://`` verifies the certificate.

    Raises:
        ValueError: it can't be understood.
    """
    try:
        parameters = pika.URLParameters(url)
        if parameters.ssl_options is not None and parameters.ssl_options.server_hostname is None:
            parameters.ssl_options.server_hostname = parameters.host
    except (TypeError, SyntaxError, OSError) as error:
        raise ValueError(str(error)) from error
    parameters.connection_attempts = 1
    parameters.socket_timeout = _CONNECT_TIMEOUT
    parameters.stack_timeout = 2 * _CONNECT_TIMEOUT
    parameters.tcp_options = _tcp_options()
    return parameters


def _tcp_options() -> dict[str, int]:
    options = {"SO_KEEPALIVE": 1}
    if sys.platform == "linux" and hasattr(socket, "TCP_USER_TIMEOUT"):
        options["TCP_USER_TIMEOUT"] = _SILENCE
    return options


def _fulfil(future: "asyncio.Future[Any]", value: Any) -> None:
    """Set the result, unless nobody waits for it any more."""
    if not future.done():
        future.set_result(value)


class Channel:
    """A channel of a connection."""

    def __init__(self, raw: PikaChannel, loop: asyncio.AbstractEventLoop) -> None:
        self.raw = raw
        self.closed: asyncio.Future[Any] = loop.create_future()
        raw.add_on_close_callback(self._on_close)

    def _on_close(self, channel: PikaChannel, reason: BaseException) -> None:
        del channel
        _fulfil(self.closed, reason)

    async def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Call ``method`` of the raw channel and return the server's answer.

        Raises:
            AMQPError: the channel was closed instead; the server may say why.
            TimeoutError: it does not answer.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        method(callback=lambda frame: _fulfil(answer, frame), **arguments)
        await asyncio.wait([answer, self.closed], timeout=_CALL_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if self.closed.done():
            raise self.closed.result()
        raise TimeoutError("The server did not answer in time.")

    async def close(self) -> None:
        """Close it. Never raises."""
        with suppress(*TROUBLE):
            if self.raw.is_open:
                self.raw.close()
                await asyncio.wait({self.closed}, timeout=_CLOSE_TIMEOUT)


def _root(error: BaseException) -> BaseException:
    """Return the cause that pika has wrapped in other errors, as one of ``TROUBLE``."""
    while True:
        if causes := getattr(error, "exceptions", None):
            error = causes[-1]
        elif isinstance(cause := getattr(error, "exception", None), BaseException):
            error = cause
        elif isinstance(error, AMQPConnectionError) and error.args and isinstance(error.args[0], BaseException):
            error = error.args[0]
        else:
            return error if isinstance(error, TROUBLE) else AMQPConnectionError(repr(error))


class _PikaConnection(AsyncioConnection):  # type: ignore[misc] # pika has no types
    """pika's connection, which can send many frames in one system call."""

    _held: list[bytes] | None = None

    @contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """Hold back what is sent meanwhile, and then send all of it."""
        held: list[bytes] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
            if held:
                self._adapter_emit_data(b"".join(held))

    def _adapter_emit_data(self, data: bytes) -> None:
        if self._held is None:
            super()._adapter_emit_data(data)
        else:
            self._held.append(data)


class Connection:
    """One connection, from the handshake to its loss."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Any] = self._loop.create_future()
        self.lost = asyncio.Event()
        self.blocked = False
        """True while the server takes no messages, because its memory or disk is full."""
        self.on_blocked: Callable[[], None] = lambda: None
        self._connection = _PikaConnection(
            parameters,
            on_open_callback=lambda _: _fulfil(self._opened, None),
            on_open_error_callback=self._on_failure,
            on_close_callback=self._on_loss,
            custom_ioloop=self._loop,
        )
        self._connection.add_on_connection_blocked_callback(lambda *_: self._block(True))
        self._connection.add_on_connection_unblocked_callback(lambda *_: self._block(False))

    @classmethod
    @asynccontextmanager
    async def connected(cls, parameters: pika.ConnectionParameters) -> "AsyncIterator[Connection]":
        """A connection for a while."""
        link = cls(parameters)
        try:
            await link.opened()
            yield link
        finally:
            await link.close()

    async def opened(self) -> None:
        """Wait for the end of the handshake.

        Raises:
            OSError, AMQPError: there is no connection.
        """
        await self._opened

    def in_one_piece(self) -> AbstractContextManager[None]:
        """Send all that is published in a ``with`` block at once at its end; nothing may be awaited in it."""
        return self._connection.in_one_piece()

    async def channel(self) -> Channel:
        """Open a channel.

        Raises:
            OSError, AMQPError: the connection is lost.
        """
        opened: asyncio.Future[Any] = self._loop.create_future()
        raw = self._connection.channel(on_open_callback=lambda _: _fulfil(opened, None))
        channel = Channel(raw, self._loop)
        await asyncio.wait([opened, channel.closed], timeout=_CALL_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if opened.done():
            return channel
        raise channel.closed.result() if channel.closed.done() else TimeoutError("No channel was opened in time.")

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[Channel]:
        """A channel for a short while."""
        channel = await self.channel()
        try:
            yield channel
        finally:
            await channel.close()

    async def exists(self, *, queue: str = "", exchange: str = "") -> bool:
        """Return whether there is such a queue or exchange. Needs no permission."""
        if queue:
            return await self.count(queue) is not None
        async with self.borrowed() as channel:
            try:
                await channel.call(channel.raw.exchange_declare, exchange=exchange, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code != _NOT_FOUND:
                    raise
                return False
        return True

    async def count(self, queue: str) -> int | None:
        """Return how many messages lie in the queue, with no consumer; None if there is no such queue."""
        async with self.borrowed() as channel:
            try:
                answer = await channel.call(channel.raw.queue_declare, queue=queue, passive=True)
            except ChannelClosedByBroker as error:
                if error.reply_code != _NOT_FOUND:
                    raise
                return None
        return int(answer.method.message_count)

    async def close(self) -> None:
        """Close the connection, also one that is still being opened. Never raises."""
        ways: list[Callable[[], Any]] = [
            self._connection.close,
            lambda: self._connection._terminate_stream(TimeoutError()),  # noqa: SLF001 - pika has no other way to hang up
        ]
        for way in ways:
            if not self.lost.is_set():
                with suppress(*TROUBLE):
                    way()
                    async with asyncio.timeout(_CLOSE_TIMEOUT):
                        await self.lost.wait()

    def _block(self, blocked: bool) -> None:
        self.blocked = blocked
        self.on_blocked()

    def _on_failure(self, connection: Any, error: BaseException) -> None:
        del connection
        self.lost.set()
        if not self._opened.done():
            self._opened.set_exception(_root(error))
            self._opened.exception()  # whoever waited for it may be gone

    def _on_loss(self, connection: Any, error: BaseException) -> None:
        logger.debug("A connection to RabbitMQ ended", extra={"reason": repr(error)})
        self._on_failure(connection, error)
