"""Message brokers, chosen by the scheme of ``BROKER_URL``: ``memory://``, ``nats://`` and ``amqp://``."""

from bandstand.events.brokers.base import Binding, Broker, BrokerOptions, Incoming, Outgoing, Waiting
from bandstand.events.brokers.building import build_broker

__all__ = ["Binding", "Broker", "BrokerOptions", "Incoming", "Outgoing", "Waiting", "build_broker"]
