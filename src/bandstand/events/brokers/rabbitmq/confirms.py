"""A channel in confirm mode: many messages in flight, each with an outcome of its own."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pika
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from bandstand import failpoints
from bandstand.amqp import Channel, Connection
from bandstand.events.brokers.outcomes import Outcomes
from bandstand.exceptions import BrokerError, BrokerUnavailable, Unroutable

__all__ = ["ConfirmedChannel", "Parcel"]

_CONFIRM_TIMEOUT: Final = 5.0
_REFUSED: Final = 403
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 406


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A message and where it goes."""

    exchange: str
    key: str
    body: bytes
    properties: pika.BasicProperties


class ConfirmedChannel:
    """Publishes with ``mandatory``, and waits until the server is responsible for each message."""

    def __init__(self, channel: Channel, connection: Connection) -> None:
        self.channel = channel
        self._connection = connection
        self._next = 1
        self._flying: dict[int, tuple[Outcomes, int, Parcel]] = {}  # by delivery tag, in order
        self._returned: dict[str, str] = {}  # message id -> why nobody gets it
        self._waits = not failpoints.switched_off("rabbitmq.confirms")
        self._mandatory = not failpoints.switched_off("rabbitmq.mandatory")

    @classmethod
    async def open(cls, connection: Connection) -> "ConfirmedChannel":
        """Return one on ``connection``."""
        channel = await connection.channel()
        confirmed = cls(channel, connection)
        channel.raw.add_on_return_callback(confirmed._on_return)
        channel.closed.add_done_callback(lambda closed: confirmed._on_close(closed.result()))
        await channel.call(channel.raw.confirm_delivery, ack_nack_callback=confirmed._on_confirm)
        return confirmed

    async def publish(self, parcels: Sequence[Parcel]) -> list[BrokerError | None]:
        """Publish all ``parcels``, then wait for their confirmations; return their errors, in order."""
        if not self.channel.raw.is_open:
            return [BrokerUnavailable("The channel was closed.")] * len(parcels)
        outcomes = Outcomes(len(parcels))
        with self._connection.in_one_piece():
            for index, parcel in enumerate(parcels):
                self._flying[self._next] = (outcomes, index, parcel)
                self._next += 1
                self.channel.raw.basic_publish(
                    parcel.exchange, parcel.key, parcel.body, parcel.properties, mandatory=self._mandatory
                )
        if not self._waits:
            return [None] * len(parcels)
        return await outcomes.settled(_CONFIRM_TIMEOUT, BrokerUnavailable("RabbitMQ did not confirm in time."))

    def _on_return(self, channel: Any, method: Basic.Return, properties: pika.BasicProperties, body: bytes) -> None:
        """Comes before the confirmation, which says only that the server is done with the message."""
        del channel, body
        self._returned[properties.message_id or ""] = f"{method.reply_code} {method.reply_text}"

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        outcome = None if isinstance(method, Basic.Ack) else BrokerUnavailable("RabbitMQ could not keep the message.")
        if not method.multiple:
            self._settle(method.delivery_tag, outcome)
            return
        for tag in list(self._flying):
            if tag > method.delivery_tag:
                break
            self._settle(tag, outcome)

    def _settle(self, tag: int, error: BrokerError | None) -> None:
        outcomes, index, parcel = self._flying.pop(tag)
        why = self._returned.pop(parcel.properties.message_id, "") if self._returned else ""
        if why:
            error = Unroutable(f"No queue takes {parcel.key!r} ({why}); an administrator has to bind the archive.")
        outcomes.settle(index, error)

    def _on_close(self, reason: BaseException) -> None:
        flying, self._flying = self._flying, {}
        for outcomes, index, parcel in flying.values():
            outcomes.settle(index, _blamed(parcel, reason))


def _blamed(parcel: Parcel, reason: BaseException) -> BrokerError:
    """The server closes the whole channel over one message: find out over which."""
    code, text = (reason.reply_code, reason.reply_text) if isinstance(reason, ChannelClosedByBroker) else (0, "")
    if code == _TOO_LARGE and f"message size {len(parcel.body)} " in text:
        return BrokerError(f"The event has {len(parcel.body):,} bytes; this RabbitMQ refuses it: {text}")
    if code == _REFUSED and ("topic" not in text or f"'{parcel.key}'" in text):
        return BrokerError(f"RabbitMQ refuses it; the permissions of the user must be changed: {text}")
    if code == _NOT_FOUND:
        return Unroutable(f"The exchange is gone; an administrator has to declare it again: {text}")
    return BrokerUnavailable(f"RabbitMQ did not confirm before the channel was closed: {text or reason!r}")
