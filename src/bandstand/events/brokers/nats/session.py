"""One connection to NATS, from the handshake to its loss. It never comes back: the broker makes a new one, and with
it stream, consumers and pull requests, so that there is one way only to come into a working state.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from bandstand.events.brokers.base import Binding, BrokerOptions, Outgoing, Receiver
from bandstand.events.brokers.nats.gaps import GapWatch
from bandstand.events.brokers.nats.names import Names
from bandstand.events.brokers.nats.publisher import Publisher
from bandstand.events.brokers.nats.pull import TROUBLE, Pull
from bandstand.exceptions import BrokerError, BrokerUnavailable

__all__ = ["Session"]

logger: Final = logging.getLogger(__name__)

_CONNECT_TIMEOUT: Final = 2
_API_TIMEOUT: Final = 5.0
_PING_INTERVAL: Final = 4  # seconds; two pings without an answer and the connection counts as lost
_MAX_UNACKNOWLEDGED: Final = 4096


class Session:
    """A connected client with what runs on it. Everything here runs on the broker's event loop."""

    def __init__(self, url: SplitResult, options: BrokerOptions, names: Names, gaps: GapWatch) -> None:
        self.lost = asyncio.Event()
        self._gaps = gaps
        self._url = url
        self._options = options
        self._names = names
        self._client = Client()
        self._stream: JetStreamContext = self._client.jetstream(timeout=_API_TIMEOUT)
        self._pulls: dict[str, Pull] = {}
        self._refused = ""
        self._refusal = asyncio.Event()
        self._publisher = Publisher(self._client, names)
        self._signs: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the connection works. When its last bytes can't be written, the client closes and tells nobody."""
        return self._client.is_connected and not self.lost.is_set()

    async def start(self) -> None:
        """Connect and make sure that the stream is there.

        Raises:
            BrokerError: there is no connection, or the user may not do what is needed; the text says why.
        """
        try:
            await self._connect()
            await self._unless_refused(self._require_stream())
            await self._publisher.start()
        except TROUBLE as error:
            raise self._explained(error) from error
        self._signs = asyncio.create_task(self._give_signs_of_life())

    async def _unless_refused(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for ``work``, but no longer than until a permission turns out to be missing.

        Raises:
            BrokerError: it is missing.
        """
        task, refusal = asyncio.ensure_future(work), asyncio.ensure_future(self._refusal.wait())
        try:
            await asyncio.wait({task, refusal}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._explained(BrokerUnavailable("it does not answer"))
            task.result()
        finally:
            task.cancel()
            refusal.cancel()

    async def _connect(self) -> None:
        host = f"{self._url.scheme}://{self._url.hostname}:{self._url.port or 4222}"
        await self._client.connect(
            host,
            name=self._options.service,
            user=unquote(self._url.username) if self._url.username else None,
            password=unquote(self._url.password) if self._url.password else None,
            connect_timeout=_CONNECT_TIMEOUT,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # of the first connection, too: 0 would mean for ever
            reconnect_time_wait=0,
            ping_interval=_PING_INTERVAL,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_lost,
            closed_cb=self._on_lost,
            inbox_prefix=self._names.inbox_prefix,
        )

    async def _require_stream(self) -> None:
        """Check that the stream of this service exists, which an administrator has to make.

        Raises:
            BrokerUnavailable: it is not.
        """
        try:
            await self._stream.stream_info(self._names.inbound)
        except NotFoundError:
            raise BrokerUnavailable(
                f"The stream {self._names.inbound} is missing. `bandstand up` declares it; elsewhere an administrator "
                f"does: python -m bandstand.topology {self._names.platform} {self._names.service} …"
            ) from None

    async def consume(self, bindings: Collection[Binding], receiver: Receiver) -> None:
        """Declare the consumers and ask for their messages.

        Raises:
            BrokerError: the consumers can't be made.
        """
        for binding in bindings:
            name = self._names.durable(binding.subscription)
            pull = Pull(
                client=self._client,
                stream=self._names.inbound,
                consumer=name,
                subscription=binding.subscription,
                capacity=binding.room(self._options),
                receiver=receiver,
                repair=lambda binding=binding: self.declare_consumer(binding),  # type: ignore[misc]
            )
            try:
                await self._unless_refused(self.declare_consumer(binding))
                await pull.start()
            except TROUBLE as error:
                raise self._explained(error) from error
            self._pulls[name] = pull
        consumers = {name: pull.subscription for name, pull in self._pulls.items()}
        self._watching = asyncio.create_task(self._gaps.watch(self._stream, self._names.inbound, consumers))

    async def declare_consumer(self, binding: Binding) -> None:
        """Make the durable consumer, or give the one that exists the filter and limits of now."""
        await self._stream.add_consumer(
            self._names.inbound,
            ConsumerConfig(
                name=self._names.durable(binding.subscription),
                durable_name=self._names.durable(binding.subscription),
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._options.lease,
                max_deliver=-1,
                max_ack_pending=_MAX_UNACKNOWLEDGED,
                filter_subjects=[self._names.filter(binding.pattern)],
            ),
        )

    async def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        """Send all ``messages``, then wait for their confirmations."""
        return await self._publisher.publish(messages)

    async def stop_consuming(self) -> None:
        """Ask for no more messages."""
        for pull in self._pulls.values():
            await pull.stop()

    async def end(self) -> None:
        """Send what is still to be sent, and close. Never raises."""
        for task in (self._signs, self._watching):
            if task is not None:
                task.cancel()
        self._publisher.give_up("The connection to NATS ended before it confirmed.")
        try:
            await self.stop_consuming()
            for pull in self._pulls.values():
                await pull.send_settled()
            if self._client.is_connected:
                await self._client.flush(timeout=2)
            await self._client.close()
        except TROUBLE as error:
            logger.debug("NATS was not left in good order", extra={"error": str(error)})
        for pull in self._pulls.values():
            pull.close()

    async def _give_signs_of_life(self) -> None:
        """Tell the server about messages that take their time, or it would bring them again."""
        while True:
            await asyncio.sleep(self._options.lease / 3)
            for pull in self._pulls.values():
                await pull.give_signs_of_life(older_than=self._options.lease / 4)

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" not in text.lower():
            logger.debug("NATS reported an error", extra={"error": text})
            return
        # What the user may not publish is answered here and nowhere else: without this, it would only time out.
        self._refused = text.removeprefix("nats: ")
        self._refusal.set()
        logger.error(
            "NATS refuses what this service needs; the permissions of its user must be changed",
            extra={"error": self._refused, "user": self._url.username or ""},
        )
        self._publisher.refuse(text, f"NATS refuses it: {self._refused}")

    async def _on_lost(self) -> None:
        self.lost.set()
        self._publisher.give_up("The connection to NATS was lost before it confirmed.")

    def _explained(self, error: Exception) -> BrokerError:
        place = f"{self._url.hostname}:{self._url.port or 4222}"
        if self._refused:
            return BrokerError(f"NATS at {place} refuses the user {self._url.username!r}: {self._refused}")
        if "authorization violation" in str(error).lower():
            return BrokerError(f"NATS at {place} does not know the user {self._url.username!r}, or not that password.")
        reason = str(error) or type(error).__name__
        return BrokerUnavailable(f"NATS at {place} can't be used: {reason.removeprefix('nats: ')}")
