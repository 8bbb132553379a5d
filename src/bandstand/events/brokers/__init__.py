"""Message brokers, chosen by the scheme of ``BROKER_URL``: ``memory://`` and ``nats://``."""

from bandstand.events.brokers.base import Binding, Broker, BrokerOptions, Incoming, Outgoing
from bandstand.events.brokers.building import build_broker

__all__ = ["Binding", "Broker", "BrokerOptions", "Incoming", "Outgoing", "build_broker"]
