"""RabbitMQ, 3.10 or later.

What a platform and its services have there, all of it durable:

- the topic exchange ``<platform>.events``: a message goes in as ``<service>.<type>``, so that a service can be allowed
  to speak in its own name only;
- the stream ``<platform>.events``, bound with ``#``: everything of the last seven days, for subscriptions to come;
- for each subscription the quorum queue ``<platform>.<service>.<subscription>``, bound with ``*.<type>``;
- beside it two exchanges: one of the same name, by which the past is brought into the queue, and a mark,
  ``<queue>:<type>``, which says that the queue gets all events of its type (``topology``);
- for each service the stream ``<platform>.<service>``: what its releases subscribed to (``history``).

``broker`` keeps a ``session``: one connection to publish (``publisher``, ``confirms``) and one to consume (``intake``,
one for each subscription), so that a server that takes no more messages still brings them. Both run on one thread, so
heartbeats go on whatever a handler does. ``link`` gives pika's callbacks the shape of coroutines.
"""

from bandstand.events.brokers.rabbitmq.broker import RabbitMqBroker

__all__ = ["RabbitMqBroker"]
