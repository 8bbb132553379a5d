"""The choice of a broker by the scheme of its URL."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from bandstand.exceptions import ConfigurationError
from bandstand.topology.nats import declare_streams
from bandstand.topology.rabbitmq import declare_exchanges

__all__ = ["declare"]

_RABBITMQ: Final = ("amqp", "amqps")
_NATS: Final = ("nats", "tls")


async def declare(url: str, platform: str, services: Collection[str], *, replicas: int = 1) -> tuple[str, ...]:
    """Declare what is missing at the broker, as the administrator whom ``url`` names; return its names.

    ``replicas`` is the number of servers of a NATS cluster that keep each stream.

    Raises:
        ConfigurationError: ``url`` is of no broker that has such parts.
        BrokerError: the broker can't be reached, or refuses; the text says why.
    """
    scheme = urlsplit(url).scheme
    if scheme in _RABBITMQ:
        return await declare_exchanges(url, platform, services)
    if scheme in _NATS:
        return await declare_streams(url, platform, services, replicas=replicas)
    raise ConfigurationError(
        f"The administrator's URL begins with {scheme!r}; write nats://user:password@host:4222 or "
        f"amqp://user:password@host:5672/virtual-host (%2F is the virtual host /)."
    )
