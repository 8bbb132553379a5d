"""The parts of a broker that services share, declared by an administrator: `python -m bandstand.topology`.

A service may declare what is its own, its consumers or queues, and nothing that another one uses. So the streams that
all publish to, and those that hold what comes for each service, are made by a step of their own: `bandstand up` takes
it by itself, and again when something is missing; in production it is a job (``deploy/``).
"""

from bandstand.topology.nats import declare_streams, inbound_stream, inbox_prefix, permissions, published_stream

__all__ = ["declare_streams", "inbound_stream", "inbox_prefix", "permissions", "published_stream"]
