"""pika alone, as fast as it goes: the bare client beside which RabbitMQ's figures stand.

It runs on its own loop, publishes persistent and mandatory messages in confirm mode with a sliding window of
unconfirmed ones, and acknowledges what it consumes in groups.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection

from report import Cost, reading

__all__ = ["consume", "publish"]

Work = Callable[[Any, Callable[[], None]], None]


def publish(url: str, exchange: str, key: str, messages: Sequence[tuple[str, bytes]], in_flight: int) -> Cost:
    """Send the messages, each with its id, and wait until all are confirmed.

    Raises:
        RuntimeError: RabbitMQ refused a message.
    """
    return _run(url, lambda channel, done: _Sender(channel, exchange, key, messages, in_flight, done).start())


def consume(url: str, queue: str, count: int, prefetch: int) -> Cost:
    """Take ``count`` messages from a queue; each acknowledgement is of half a window."""
    group = max(1, prefetch // 2)

    def work(channel: Any, done: Callable[[], None]) -> None:
        received = 0

        def receive(channel: Any, method: Any, *message: Any) -> None:
            del message
            nonlocal received
            received += 1
            if received % group == 0 or received == count:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if received == count:
                done()

        channel.basic_qos(prefetch_count=prefetch)
        channel.basic_consume(queue, receive)

    return _run(url, work)


@dataclass
class _Sender:
    """Sends a message for each that is confirmed."""

    channel: Any
    exchange: str
    key: str
    messages: Sequence[tuple[str, bytes]]
    in_flight: int
    done: Callable[[], None]
    sent: int = 0
    oldest: int = 1  # nothing before this delivery tag is unconfirmed
    unconfirmed: set[int] = field(default_factory=set)

    def start(self) -> None:
        """Ask for confirms, then send."""
        self.channel.add_on_return_callback(self._refuse)
        self.channel.confirm_delivery(self._on_confirm, callback=lambda _: self._fill())

    def _fill(self) -> None:
        while self.sent < len(self.messages) and len(self.unconfirmed) < self.in_flight:
            name, body = self.messages[self.sent]
            self.sent += 1
            self.unconfirmed.add(self.sent)
            properties = pika.BasicProperties(message_id=name, content_type="application/json", delivery_mode=2)
            self.channel.basic_publish(self.exchange, self.key, body, properties, mandatory=True)

    def _refuse(self, *_: object) -> None:
        raise RuntimeError("RabbitMQ refused a message, or no queue took it.")

    def _on_confirm(self, frame: Any) -> None:
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            self._refuse()
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            self.unconfirmed.difference_update(range(self.oldest, tag + 1))
            self.oldest = tag + 1
        else:
            self.unconfirmed.discard(tag)
        self._fill()
        if not self.unconfirmed:
            self.done()


def _run(url: str, work: Work) -> Cost:
    """Run ``work(channel, done)`` on a connection's own loop; return what it took from its start to ``done()``."""
    readings: list[Cost] = []

    def done() -> None:
        readings.append(reading())
        connection.close()

    def opened(channel: Any) -> None:
        readings.append(reading())
        work(channel, done)

    connection = SelectConnection(
        pika.URLParameters(url),
        on_open_callback=lambda connection: connection.channel(on_open_callback=opened),
        on_close_callback=lambda connection, _: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    if len(readings) != 2:
        raise RuntimeError("RabbitMQ ended the connection.")
    return readings[1] - readings[0]
