"""RabbitMQ, 3.10 or later.

What a platform and its services have there, all of it durable. An administrator declares (``bandstand.topology``):

- for each service the topic exchange ``<platform>.events.<service>``, to which it publishes with the routing key
  ``<service>.<type>``;
- the internal topic exchange ``<platform>.events``, which gets what is published to any of these;
- the stream ``<platform>.events``, the archive: everything of the last seven days, for new subscriptions.

A service declares, and declares again (``topology``):

- the topic exchange ``<platform>.<service>``, which gets everything from the shared one;
- for each subscription the quorum queue ``<platform>.<service>.<subscription>``, bound to that with ``*.<type>``;
- beside it a mark, the exchange ``<queue>:<type>``, bound to the same exchange and deleted with it: while it exists,
  the queue has been bound all the time;
- the stream ``<platform>.<service>``: what its releases subscribed to (``history``).

``broker`` keeps a ``session``: one connection to publish (``publisher``) and one to consume (``consumer``, one for each
subscription), so that a server that takes no more messages still delivers. Both run on one thread, so heartbeats go on
whatever a handler does.
"""

from bandstand.events.brokers.rabbitmq.broker import RabbitMqBroker

__all__ = ["RabbitMqBroker"]
