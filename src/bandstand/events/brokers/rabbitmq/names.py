"""What things are called in RabbitMQ."""

import re
from typing import Final

import msgspec

from bandstand.exceptions import ConfigurationError

__all__ = ["Names"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST: Final = 255  # bytes, of a short string in AMQP


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Exchange, queues and routing keys of one service in one platform."""

    platform: str
    service: str

    def __post_init__(self) -> None:
        for what, value in (("platform", self.platform), ("service", self.service)):
            if _TOKEN.fullmatch(value) is None:
                raise ConfigurationError(
                    f"The {what} is called {value!r}; in RabbitMQ that can only have letters, digits, '-' and '_'."
                )

    @property
    def exchange(self) -> str:
        return f"{self.platform}.events"

    @property
    def archive(self) -> str:
        """The stream with the past of the platform."""
        return f"{self.platform}.events"

    @property
    def history(self) -> str:
        """The stream with what the releases of this service subscribed to."""
        return f"{self.platform}.{self.service}"

    @property
    def record(self) -> str:
        """The routing key of what is for ``history``. No pattern has so few words, so no subscription gets it."""
        return f"{self.service}.subscriptions"

    @property
    def mark(self) -> str:
        """The routing key of messages that only mark a place in ``archive``."""
        return f"{self.service}.mark"

    def key(self, event_type: str) -> str:
        """The routing key of this service's events of that type."""
        return f"{self.service}.{event_type}"

    def filter(self, pattern: str) -> str:
        """The binding for events of that pattern from whatever service."""
        return f"*.{pattern}"

    def queue(self, subscription: str) -> str:
        """The queue of a subscription, and the exchange by which its past is brought."""
        return _checked(f"{self.platform}.{self.service}.{subscription}")

    def whole(self, subscription: str, pattern: str) -> str:
        """The mark that the queue gets all events of that pattern."""
        return _checked(f"{self.queue(subscription)}:{pattern}")

    def young(self, subscription: str, pattern: str) -> str:
        """The mark that it does, but is so new that a server which is killed may forget it."""
        return _checked(f"{self.whole(subscription, pattern)}?")


def _checked(name: str) -> str:
    if len(name) > _LONGEST:
        raise ConfigurationError(f"{name!r} is longer than a name in RabbitMQ may be ({_LONGEST}); shorten its parts.")
    return name
