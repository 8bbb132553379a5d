"""How a request gets to an instance: one file for each library, and the one in use."""

from bandstand.client.transports.active import async_transport, transport, use_transport
from bandstand.client.transports.base import (
    AnswerTooLarge,
    AsyncTransport,
    ConnectFailed,
    ConnectionBroken,
    NotHttp,
    TimedOut,
    Transport,
    TransportError,
)

__all__ = [
    "AnswerTooLarge",
    "AsyncTransport",
    "ConnectFailed",
    "ConnectionBroken",
    "NotHttp",
    "TimedOut",
    "Transport",
    "TransportError",
    "async_transport",
    "transport",
    "use_transport",
]
