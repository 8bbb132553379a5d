"""Publishing to JetStream: a batch goes out in one piece, and each message has an outcome of its own.

The client's own ``publish_async`` costs 40 µs a message, most of it for a future, a random inbox and a task each. Here
replies come to one inbox, numbered, and frames are put together for the whole batch: 10 µs. What the client sends by
itself, connects, and keeps alive stays as it is.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from bandstand.events.brokers.base import Outgoing
from bandstand.events.brokers.nats.frames import send_frames
from bandstand.events.brokers.nats.names import Names
from bandstand.events.brokers.nats.pull import TROUBLE
from bandstand.events.brokers.outcomes import Outcomes
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable

__all__ = ["Publisher"]

_CONFIRM_TIMEOUT: Final = 5.0
_UNAVAILABLE: Final = 503
_WORD: Final = re.compile(r"[!-~]+")  # a blank or the end of a line in it would make another command of the rest
_HEAD: Final = b"NATS/1.0\r\nContent-Type: application/cloudevents+json; charset=utf-8\r\nNats-Msg-Id: %b\r\n\r\n"


class _Refusal(msgspec.Struct):
    code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    """What JetStream says to a message; ``stream`` is where it is kept now."""

    stream: str = ""
    error: _Refusal | None = None


_answers: Final = msgspec.json.Decoder(_Answer)


class Publisher:
    """Publishes on ``client``."""

    def __init__(self, client: Client, names: Names) -> None:
        self._client = client
        self._names = names
        self._inbox = ""
        self._flying: dict[int, tuple[Outcomes, int, str]] = {}  # by number: where the outcome goes, and the subject
        self._next = 0

    async def start(self) -> None:
        """Listen for replies.

        Raises:
            OSError, nats.errors.Error: there is no connection.
        """
        self._inbox = self._client.new_inbox()  # with the prefix that the client got when it connected
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_reply)

    async def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        """Send all ``messages``, then wait until each is confirmed or not; return their errors, in order."""
        outcomes = Outcomes(len(messages))
        first = self._next
        self._next += len(messages)
        frames = [
            self._frame(number, message, outcomes, number - first) for number, message in enumerate(messages, first)
        ]
        try:
            await send_frames(self._client, b"".join(frames))
            return await outcomes.settled(_CONFIRM_TIMEOUT, BrokerUnavailable("NATS did not confirm in time."))
        except TROUBLE as error:
            self.give_up(f"NATS could not be written to: {error}")
            return outcomes.errors
        finally:
            for number in range(first, first + len(messages)):
                self._flying.pop(number, None)

    def give_up(self, reason: str) -> None:
        """Wait for no more replies: the connection is lost."""
        self._settle_all(BrokerUnavailable(reason))

    def refuse(self, subject: str, reason: str) -> None:
        """The server told apart from the reply that nothing may be published on a subject that ``subject`` names."""
        self._settle_all(BrokerError(reason), among=subject.lower())

    def _settle_all(self, error: BrokerError, among: str | None = None) -> None:
        for outcomes, index, subject in list(self._flying.values()):
            if among is None or subject.lower() in among:
                outcomes.settle(index, error)

    def _frame(self, number: int, message: Outgoing, outcomes: Outcomes, index: int) -> bytes:
        subject = self._names.subject(message.type)
        head = _HEAD % message.id.encode()
        size = len(head) + len(message.body)
        if error := self._refused(message, subject, size):
            outcomes.settle(index, error)
            return b""
        self._flying[number] = outcomes, index, subject
        line = f"HPUB {subject} {self._inbox}.{number} {len(head)} {size}\r\n"
        return line.encode() + head + message.body + b"\r\n"

    def _refused(self, message: Outgoing, subject: str, size: int) -> BrokerError | None:
        """What the server would end the connection over, and with it all other messages."""
        if size > self._client.max_payload:
            limit = self._client.max_payload
            return BrokerError(f"The event has {len(message.body):,} bytes; this NATS server takes {limit:,}.")
        if _WORD.fullmatch(subject) is None or _WORD.fullmatch(message.id) is None:
            return BrokerError(
                f"The type {message.type!r:.120} or the id {message.id!r:.120} can't be written in NATS."
            )
        return None

    async def _on_reply(self, reply: Msg) -> None:
        outcomes, index, _ = self._flying.pop(int(reply.subject.rpartition(".")[2]), (None, 0, ""))
        if outcomes is not None:
            outcomes.settle(index, self._meant_by(reply))

    def _meant_by(self, reply: Msg) -> BrokerError | None:
        if reply.headers and reply.headers.get("Status") == str(_UNAVAILABLE):
            return Unroutable(f"The stream {self._names.stream} is missing, which an administrator declares.")
        try:
            answer = _answers.decode(reply.data)
        except msgspec.MsgspecError as error:
            return BrokerUnavailable(f"NATS answers what is not understood: {error}")
        if answer.error is None:
            return None if answer.stream else BrokerUnavailable("NATS does not say where it keeps the message.")
        if answer.error.code == _UNAVAILABLE:
            return BrokerUnavailable(f"NATS can't take messages now: {answer.error.description}")
        return BrokerError(f"NATS refused the message: {answer.error.description}")
