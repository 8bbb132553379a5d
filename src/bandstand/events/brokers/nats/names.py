"""Names in NATS."""

import msgspec

from bandstand.topology.nats import inbound_stream, inbox_prefix, published_stream

__all__ = ["Names"]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects, streams and consumers of one service in one platform."""

    platform: str
    service: str

    def __post_init__(self) -> None:
        inbound_stream(self.platform, self.service)  # raises ConfigurationError for what can't be a name

    @property
    def stream(self) -> str:
        """The stream to which all services publish."""
        return published_stream(self.platform)

    @property
    def inbound(self) -> str:
        """The stream that has the consumers of this service."""
        return inbound_stream(self.platform, self.service)

    @property
    def inbox_prefix(self) -> bytes:
        """The beginning of the subjects on which this service gets answers."""
        return inbox_prefix(self.service).encode()

    def subject(self, event_type: str) -> str:
        """Return the subject on which this service publishes events of that type."""
        return f"{self.platform}.events.{self.service}.{event_type}"

    def filter(self, pattern: str) -> str:
        """Return the subject filter of events of that pattern from any service."""
        return f"{self.platform}.events.*.{pattern}"

    def durable(self, subscription: str) -> str:
        """Return the consumer of a subscription; names there can't hold dots, which ours have: ``orders.reserve``."""
        return f"{self.service}__{subscription.replace('.', '-')}"
