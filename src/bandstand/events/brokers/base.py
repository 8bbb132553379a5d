"""What a broker has to do: take messages with confirmation, and bring them to each subscription at least once.

Everything else is ours and the same on every broker: order, retries, dead letters, the inbox. A broker of your own
needs ``publish`` and ``consume``, and passes the conformance suite.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

import msgspec

from bandstand.exceptions import BrokerError

__all__ = ["Binding", "Broker", "BrokerOptions", "Incoming", "Outgoing", "Receiver", "Waiting"]


class BrokerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``lease``: seconds without a sign of life after which a message is brought again.
    ``prefetch``: how many messages each subscription may hold here without having acknowledged them.
    """

    platform: str
    service: str
    lease: float = 15.0
    prefetch: int = 16


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish; the broker drops a second one with the same id where it can."""

    id: str
    type: str
    body: bytes


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker keeps for a subscription of this service: ``pattern`` is a type, ``*`` stands for one word.

    ``prefetch``, if it is more than that of the options, is for a subscription that handles many at once.
    """

    subscription: str
    pattern: str
    prefetch: int = 0

    def room(self, options: BrokerOptions) -> int:
        """Return how many messages the subscription may hold here without having acknowledged them."""
        return max(self.prefetch, options.prefetch)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker still has for a subscription. ``pending``: not with any worker; ``unsettled``: brought, and neither
    acknowledged nor released, or None where the broker does not tell.
    """

    pending: int
    unsettled: int | None


class Incoming(ABC):
    """A message that was brought, until it is settled by one of the two methods, from any thread."""

    __slots__ = ("body", "id", "repeated", "source", "subscription", "type")

    def __init__(
        self,
        *,
        subscription: str,
        id: str,  # noqa: A002 - its own name
        body: bytes,
        repeated: bool,
        source: str,
        type: str,  # noqa: A002 - its own name
    ) -> None:
        self.subscription = subscription
        self.source = source
        """The service that published it, as the broker knows it from the rights of its user."""
        self.type = type
        self.id = id
        """What the broker knows it by, for the case that the body can't be read; never empty."""
        self.body = body
        self.repeated = repeated
        """Whether it may have been brought before, so that somebody may have begun to handle it."""

    @abstractmethod
    def acknowledge(self) -> None:
        """The message is taken care of: never bring it again. Does not wait."""

    @abstractmethod
    def release(self, delay: float) -> None:
        """Bring the message again in ``delay`` seconds, here or elsewhere. Does not wait."""


Receiver = Callable[[Incoming], None]
"""Called on the broker's own thread for each message; returns at once."""


class Broker(ABC):
    """A connection to a broker, which comes back by itself as long as it is open."""

    def __init__(self, url: str, options: BrokerOptions) -> None:
        self.url = url
        self.options = options

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether messages go through now: publishing is possible and all bindings are in place."""

    @abstractmethod
    def open(self, changed: Callable[[], None]) -> None:
        """Begin to connect, without waiting; ``changed`` is called, on any thread, when ``connected`` changes."""

    @abstractmethod
    def publish(self, messages: Sequence[Outgoing]) -> list[BrokerError | None]:
        """Publish all ``messages`` at once and wait until each is confirmed or not; return their errors, in order.

        ``BrokerUnavailable`` and ``Unroutable`` speak of the broker, any other ``BrokerError`` of that message.
        """

    @abstractmethod
    def consume(self, bindings: Collection[Binding], receiver: Receiver) -> None:
        """Declare ``bindings``, also after each reconnection, and bring their messages to ``receiver``."""

    @abstractmethod
    def stop_consuming(self) -> None:
        """Bring no more messages; those that were brought can still be settled."""

    @abstractmethod
    def close(self) -> None:
        """Send what is to be sent and disconnect."""

    def waiting(self, subscriptions: Collection[str], timeout: float) -> dict[str, Waiting]:
        """Return what waits for ``subscriptions`` of this service, without those about which the broker can't tell.

        Needs no ``open``, declares nothing, and takes at most ``timeout`` seconds. A broker that can't tell cheaply
        leaves this as it is.

        Raises:
            BrokerError: the broker could not be asked.
        """
        del subscriptions, timeout
        return {}
