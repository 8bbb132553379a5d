"""NATS JetStream.

One stream for the platform, ``<platform>-events``, over ``<platform>.events.>``; a message goes to
``<platform>.events.<service>.<type>``, so that a service can be allowed to speak in its own name only. Each
subscription is a durable pull consumer, ``<service>__<subscription>``, that listens to ``<platform>.events.*.<type>``.
"""

from bandstand.events.brokers.nats.broker import NatsBroker

__all__ = ["NatsBroker"]
