"""A pull consumer that is always waiting: a request lies at the server, so that a message comes when it is there.

The protocol is that of ADR-13 of the NATS architecture: a request for a batch ends with a status message that says how
many of the batch were not sent. Requests end soon, so that message is also the sign that a quiet consumer is not gone,
and idle heartbeats would say nothing more.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bandstand.events.brokers.base import Incoming, Receiver
from bandstand.events.brokers.nats.frames import frame, send_frames

__all__ = ["TROUBLE", "NatsIncoming", "Pull"]

logger: Final = logging.getLogger(__name__)

TROUBLE: Final = (OSError, nats.errors.Error)
"""What the client raises when the connection or the server fails; time-outs are an OSError."""

_SECOND: Final = 1_000_000_000
_EXPIRES: Final = 5  # seconds that the requests of a process that stands still go on to draw messages
_REPAIR_PAUSE: Final = 0.25
_GATHER: Final = 0.002  # seconds that an answer waits for others: each sending wakes this process and the server
_DELIVERIES: Final = 4  # position in $JS.ACK.<stream>.<consumer>.<deliveries>.<…>, from the front
_LONG_REPLY: Final = 11  # with domain and account in front of the stream there are at least as many parts


class NatsIncoming(Incoming):
    """A message and the subject to settle it on."""

    __slots__ = ("_pull", "received", "reply")

    def __init__(self, message: Msg, pull: "Pull") -> None:
        parts = message.reply.split(".")
        offset = 2 if len(parts) >= _LONG_REPLY else 0
        _, _, source, event_type = message.subject.split(".", 3)  # <platform>.events.<service>.<type>
        super().__init__(
            subscription=pull.subscription,
            id=(message.headers or {}).get("Nats-Msg-Id") or f"{parts[2 + offset]}-{parts[_DELIVERIES + 1 + offset]}",
            body=message.data,
            repeated=parts[_DELIVERIES + offset] != "1",
            source=source,
            type=event_type,
        )
        self.reply = message.reply
        self.received = time.monotonic()
        self._pull = pull

    def acknowledge(self) -> None:
        self._settle(b"+ACK")

    def release(self, delay: float) -> None:
        answer = b"-NAK" if delay <= 0 else b"-NAK " + json.dumps({"delay": int(delay * _SECOND)}).encode()
        self._settle(answer)

    def _settle(self, answer: bytes) -> None:
        with suppress(RuntimeError):  # the broker is closed, so the message comes again
            self._pull.settle(self, answer)


class Pull:
    """Keeps requests at the server for as many messages as there is room for."""

    def __init__(
        self,
        *,
        client: Client,
        stream: str,
        consumer: str,
        subscription: str,
        capacity: int,
        receiver: Receiver,
        repair: Callable[[], Awaitable[None]],
    ) -> None:
        self.subscription = subscription
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._capacity = capacity
        self._receiver = receiver
        self._repair = repair
        self._held: dict[str, NatsIncoming] = {}  # by reply subject
        self._requested = 0
        self._heard = time.monotonic()
        self._settled: deque[tuple[str, bytes]] = deque()  # never replaced: another thread may be about to append
        self._sending = False  # whether somebody will look at what is settled
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribed: Subscription | None = None
        self._stopped = False
        self._closed = False

    async def start(self) -> None:
        """Ask for the first messages."""
        self._subscribed = await self._client.subscribe(self._inbox, cb=self._receive)
        await self._request()
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Ask for nothing more. What the server has sent by now still goes to the receiver."""
        if self._stopped:
            return
        self._stopped = True
        if self._subscribed is not None and self._client.is_connected:
            await self._subscribed.drain()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """End what runs in the background, and begin nothing more there: the loop may end with it."""
        self._stopped = self._closed = True
        for task in self._tasks:
            task.cancel()

    def settle(self, incoming: NatsIncoming, answer: bytes) -> None:
        """Send an answer soon, together with others, from whatever thread.

        Raises:
            RuntimeError: the loop is closed.
        """
        self._settled.append((incoming.reply, answer))  # before the look at the flag, which is taken down the other way
        if not self._sending:
            self._sending = True
            self._loop.call_soon_threadsafe(self._send_soon)

    def _send_soon(self) -> None:
        self._loop.call_later(_GATHER, self._send)

    def _send(self) -> None:
        if not self._closed:
            self._spawn(self.send_settled())

    async def send_settled(self) -> None:
        """Send the answers that wait, in one piece."""
        self._sending = False
        settled = [self._settled.popleft() for _ in range(len(self._settled))]
        answers = [frame(reply, answer) for reply, answer in settled if self._held.pop(reply, None)]
        try:
            await send_frames(self._client, b"".join(answers))
        except TROUBLE:  # the connection is lost: the next one gets the messages again
            logger.debug("NATS could not be answered", extra={"messages": len(answers)})
        await self._request()

    async def give_signs_of_life(self, *, older_than: float) -> None:
        """Say of each message that is here longer than ``older_than`` seconds that it is being worked on."""
        limit = time.monotonic() - older_than
        for incoming in [held for held in self._held.values() if held.received < limit]:
            await self._say(incoming.reply, b"+WPI")

    async def _say(self, subject: str, answer: bytes, reply: str = "") -> None:
        try:
            await self._client.publish(subject, answer, reply)
        except TROUBLE:  # the connection is lost: the next one gets the message again
            logger.debug("NATS could not be answered", extra={"subject": subject})

    async def _request(self) -> None:
        """Ask for as many as there is room for, but not for one by one."""
        room = self._capacity - len(self._held) - self._requested
        if self._stopped or room <= 0 or (self._requested and room < self._capacity // 2):
            return
        self._requested += room
        wanted = {"batch": room, "expires": _EXPIRES * _SECOND}
        await self._say(self._subject, json.dumps(wanted).encode(), self._inbox)

    async def _receive(self, message: Msg) -> None:
        self._heard = time.monotonic()
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is not None:
            await self._on_status(status, message.headers or {})
            return
        self._requested = max(0, self._requested - 1)
        incoming = NatsIncoming(message, self)
        self._held[incoming.reply] = incoming
        self._receiver(incoming)

    async def _on_status(self, status: str, headers: dict[str, str]) -> None:
        if status in {"404", "408"}:  # the request ended
            self._requested = max(0, self._requested - int(headers.get("Nats-Pending-Messages", self._requested)))
            await self._request()
            return
        logger.info("NATS ended a pull request", extra={"status": status, "reason": headers.get("Description", "")})
        self._begin_again()

    async def _watch(self) -> None:
        """A request from which nothing is heard, not even its end, is lost."""
        while not self._stopped:
            await asyncio.sleep(_EXPIRES)
            if self._requested and time.monotonic() - self._heard > 2 * _EXPIRES:
                self._begin_again()

    def _begin_again(self) -> None:
        if not any(task.get_name() == "repair" for task in self._tasks):
            self._spawn(self._repaired(), name="repair")

    async def _repaired(self) -> None:
        """The consumer or the whole stream may be gone: declare both, then ask anew."""
        await asyncio.sleep(_REPAIR_PAUSE)
        while not self._stopped and self._client.is_connected:
            try:
                await self._repair()
            except TROUBLE as error:
                logger.warning("The consumer can't be declared", extra={"error": str(error)})
                await asyncio.sleep(1.0)
            else:
                self._heard = time.monotonic()
                self._requested = 0
                await self._request()
                return

    def _spawn(self, work: "Awaitable[None]", name: str | None = None) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        if name:
            task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
