"""Who asks, for whom, until when: one frozen value that goes along by itself.

- ``RequestTrackingMiddleware`` makes a ``Context`` of each request, echoes ``X-Correlation-ID``, writes one log line
  and observes ``bandstand_request_seconds``. It stands first in ``MIDDLEWARE``.
- ``current()`` is the bound context or a fresh root, ``bound()`` the bound one or None; ``bind(context)`` binds one for
  a ``with`` block; ``update(user=…)`` adds what becomes known on the way; ``new_context(…)`` begins one;
  ``carry(function)`` takes it along into a thread.
- ``from_headers(headers)``, ``to_headers(context)`` and ``to_lines(context, …)``: the wire. ``TraceContext``: W3C Trace
  Context.
- ``client_ip(request)``: the client's address, behind trusted proxies; ``client_network(request)``: what limits count
  by, an IPv4 address or an IPv6 network of 64 bits.
- ``problem_response(status, code, detail)``: a problem document (RFC 9457), for what is refused before a view runs;
  ``uri_reference(path)`` is how it writes the path of a request.
- ``application_loaded``: the signal that the process begins to be a server.
- ``JsonFormatter`` and ``ConsoleFormatter``: log lines.
- ``counter``, ``gauge``, ``histogram``, ``REGISTRY`` and ``render_metrics()``: Prometheus metrics.
"""

from bandstand.context.addresses import client_ip, client_network
from bandstand.context.binding import bind, bound, carry, current, update
from bandstand.context.headers import from_headers, to_headers, to_lines
from bandstand.context.loading import application_loaded
from bandstand.context.logs import ConsoleFormatter, JsonFormatter
from bandstand.context.metrics import REGISTRY, counter, gauge, histogram, render_metrics
from bandstand.context.middleware import RequestTrackingMiddleware
from bandstand.context.problem import problem_response, uri_reference
from bandstand.context.trace import TraceContext, parse_traceparent
from bandstand.context.values import Context, is_correlation_id, new_context

__all__ = [
    "REGISTRY",
    "ConsoleFormatter",
    "Context",
    "JsonFormatter",
    "RequestTrackingMiddleware",
    "TraceContext",
    "application_loaded",
    "bind",
    "bound",
    "carry",
    "client_ip",
    "client_network",
    "counter",
    "current",
    "from_headers",
    "gauge",
    "histogram",
    "is_correlation_id",
    "new_context",
    "parse_traceparent",
    "problem_response",
    "render_metrics",
    "to_headers",
    "to_lines",
    "update",
    "uri_reference",
]
