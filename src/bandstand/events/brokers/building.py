"""Which broker a URL means."""

from typing import Final
from urllib.parse import urlsplit

from django.utils.module_loading import import_string

from bandstand.events.brokers.base import Broker, BrokerOptions
from bandstand.exceptions import ConfigurationError

__all__ = ["build_broker"]

_BACKENDS: Final = {
    "memory": "bandstand.events.brokers.memory.MemoryBroker",
    "nats": "bandstand.events.brokers.nats.NatsBroker",
    "tls": "bandstand.events.brokers.nats.NatsBroker",
    "amqp": "bandstand.events.brokers.rabbitmq.RabbitMqBroker",
    "amqps": "bandstand.events.brokers.rabbitmq.RabbitMqBroker",
}

_EXTRAS: Final = {"tls": "nats", "amqp": "rabbitmq", "amqps": "rabbitmq"}


def build_broker(url: str, options: BrokerOptions) -> Broker:
    """Return the broker of ``url``, not yet connected.

    A scheme that holds a dot is the dotted path of a class of your own: ``my_project.brokers.MyBroker://host``.

    Raises:
        ConfigurationError: the scheme is unknown, or the driver is not installed.
    """
    scheme = urlsplit(url).scheme if "." not in url.partition("://")[0] else url.partition("://")[0]
    path = scheme if "." in scheme else _BACKENDS.get(scheme)
    if path is None:
        raise ConfigurationError(
            f"BROKER_URL begins with {scheme!r}; brokers are {', '.join(f'{name}://' for name in _BACKENDS)}."
        )
    try:
        backend: type[Broker] = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"BROKER_URL begins with {scheme!r}, but its driver can't be imported ({error}). "
            f"Install it: pip install 'bandstand[{_EXTRAS.get(scheme, scheme)}]'."
        ) from error
    return backend(url, options)
