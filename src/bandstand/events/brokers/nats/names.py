"""What things are called in NATS."""

import re
from typing import Final

import msgspec

from bandstand.exceptions import ConfigurationError

__all__ = ["Names"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects, stream and consumers of one service in one platform."""

    platform: str
    service: str

    def __post_init__(self) -> None:
        for what, value in (("platform", self.platform), ("service", self.service)):
            if _TOKEN.fullmatch(value) is None:
                raise ConfigurationError(
                    f"The {what} is called {value!r}; in NATS that can only have letters, digits, '-' and '_'."
                )

    @property
    def stream(self) -> str:
        return f"{self.platform}-events"

    @property
    def subjects(self) -> str:
        return f"{self.platform}.events.>"

    def subject(self, event_type: str) -> str:
        """Where this service publishes events of that type."""
        return f"{self.platform}.events.{self.service}.{event_type}"

    def filter(self, pattern: str) -> str:
        """What matches events of that pattern from whatever service."""
        return f"{self.platform}.events.*.{pattern}"

    def durable(self, subscription: str) -> str:
        """The consumer of a subscription; names there can't hold dots, which ours have: ``orders.reserve``."""
        return f"{self.service}__{subscription.replace('.', '-')}"
