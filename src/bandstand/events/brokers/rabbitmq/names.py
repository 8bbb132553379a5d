"""Names in RabbitMQ."""

from typing import Final

import msgspec

from bandstand.exceptions import ConfigurationError
from bandstand.topology.rabbitmq import archive, inbound_exchange, published_exchange, service_exchange

__all__ = ["Names"]

_LONGEST: Final = 255  # bytes, of a short string in AMQP


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Exchanges, queues and routing keys of one service in one platform."""

    platform: str
    service: str

    def __post_init__(self) -> None:
        inbound_exchange(self.platform, self.service)  # raises ConfigurationError for what can't be a name

    @property
    def exchange(self) -> str:
        """The exchange to which this service publishes."""
        return service_exchange(self.platform, self.service)

    @property
    def shared(self) -> str:
        """The exchange with the events of all services."""
        return published_exchange(self.platform)

    @property
    def inbound(self) -> str:
        """The exchange of this service that gets all events; its queues are bound to it."""
        return inbound_exchange(self.platform, self.service)

    @property
    def archive(self) -> str:
        """The stream with the events of the last seven days."""
        return archive(self.platform)

    @property
    def history(self) -> str:
        """The stream with what the releases of this service subscribed to."""
        return self.inbound

    @property
    def record(self) -> str:
        """The routing key of what is for ``history``. No pattern has so few words, so no subscription gets it."""
        return "subscriptions"

    @property
    def mark(self) -> str:
        """The routing key of messages that only mark a place in ``archive``."""
        return f"{self.service}.mark"

    def key(self, event_type: str) -> str:
        """Return the routing key of this service's events of that type."""
        return f"{self.service}.{event_type}"

    def filter(self, pattern: str) -> str:
        """Return the binding key for events of that pattern from any service."""
        return f"*.{pattern}"

    def backfill(self, subscription: str) -> str:
        """Return the routing key of copies from the archive; two words, so that no pattern matches it."""
        return f"backfill.{subscription.replace('.', ':')}"

    def source(self, exchange: str) -> str:
        """Return the service that publishes to ``exchange``; empty if no service does."""
        prefix = f"{self.shared}."
        return exchange.removeprefix(prefix) if exchange.startswith(prefix) else ""

    def queue(self, subscription: str) -> str:
        """Return the queue of a subscription."""
        return _checked(f"{self.inbound}.{subscription}")

    def backfilled_mark(self, subscription: str, pattern: str) -> str:
        """Return the mark of a queue that has been bound for that pattern since its backfill."""
        return _checked(f"{self.queue(subscription)}:{pattern}")

    def recent_mark(self, subscription: str, pattern: str) -> str:
        """Return the mark of such a queue while it is so new that a server which is killed may lose it."""
        return _checked(f"{self.backfilled_mark(subscription, pattern)}?")


def _checked(name: str) -> str:
    if len(name) > _LONGEST:
        raise ConfigurationError(f"{name!r} is longer than a name in RabbitMQ may be ({_LONGEST}); shorten its parts.")
    return name
