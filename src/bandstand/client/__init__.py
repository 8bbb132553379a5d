"""Calls to other services that end in time, say who called and for whom, and are repeated only where that is safe.

- ``ServiceClient("user-service").get("/api/v1/users/1/")`` returns a ``Response`` or raises; ``AsyncServiceClient`` is
  the same for coroutines; ``call_service(service, endpoint, method, data, headers)`` returns the decoded JSON.
- ``client.pages(path)`` and ``client.items(path)`` read lists, ``client.load(resource, ids)`` many things with one
  call; ``Page`` is what the first gives, ``Resource`` says how something is loaded by ids.
- ``Policy`` (of ``bandstand.resilience``): the limits of a client's calls, from ``BANDSTAND["CLIENT"]`` unless given;
  ``configured_policies()`` returns those of the settings. What a process learns of a service (its circuit, its budget
  of retries) it keeps in memory; ``force_circuit(service, mode)`` overrides it, ``forget_targets()`` begins anew.
- ``warm_up()`` does what the first call would wait for.
- ``Transport``, ``AsyncTransport``, ``Request``, ``Response``, ``Headers`` and ``TransportError`` with its kinds: the
  seam to the network, where ``use_transport(sync, asynchronous)`` puts others in place, as
  ``bandstand.testing.services`` does.
"""

from bandstand.client.clients import AsyncServiceClient, ServiceClient, call_service
from bandstand.client.loading import Resource
from bandstand.client.messages import Headers, Request, Response
from bandstand.client.paging import Page
from bandstand.client.policies import configured_policies
from bandstand.client.targets import force_circuit, forget_targets
from bandstand.client.transports import (
    AnswerTooLarge,
    AsyncTransport,
    ConnectFailed,
    ConnectionBroken,
    NotHttp,
    TimedOut,
    Transport,
    TransportError,
    use_transport,
)
from bandstand.client.warming import warm_up
from bandstand.resilience import Policy

__all__ = [
    "AnswerTooLarge",
    "AsyncServiceClient",
    "AsyncTransport",
    "ConnectFailed",
    "ConnectionBroken",
    "Headers",
    "NotHttp",
    "Page",
    "Policy",
    "Request",
    "Resource",
    "Response",
    "ServiceClient",
    "TimedOut",
    "Transport",
    "TransportError",
    "call_service",
    "configured_policies",
    "force_circuit",
    "forget_targets",
    "use_transport",
    "warm_up",
]
