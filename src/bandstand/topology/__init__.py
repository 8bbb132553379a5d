"""The parts of a broker that services share, declared by an administrator: `python -m bandstand.topology`.

A service may declare what is its own, its consumers or queues, and nothing that another one uses. So the streams and
exchanges through which events pass from one service to others are made by a step of their own: `bandstand up` takes it
by itself, and again when something is missing; in production it is a job (``deploy/``).
"""

from bandstand.topology.declaration import declare

__all__ = ["declare"]
