"""What every gateway of a platform does, whichever program it is."""

from collections.abc import Mapping
from typing import Final

import msgspec

from bandstand.conf import wire

__all__ = [
    "ALLOWED_HEADERS",
    "ALLOWED_METHODS",
    "CORRELATION_ID_FORM",
    "CORS_MAX_AGE",
    "EXPOSED_HEADERS",
    "NO_HOST",
    "PROBLEMS",
    "RETRIED_STATUSES",
    "SAFE_METHODS",
    "Problem",
    "stripped_headers",
]

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
ALLOWED_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ALLOWED_HEADERS: Final = (
    "accept", "accept-language", "authorization", "content-type", wire.CORRELATION_ID, wire.IDEMPOTENCY_KEY,
    wire.TRACEPARENT, wire.TRACESTATE,
)  # fmt: skip
EXPOSED_HEADERS: Final = (
    wire.CORRELATION_ID, wire.IDEMPOTENCY_REPLAYED, wire.RATE_LIMIT, wire.RATE_LIMIT_POLICY, "allow", "etag",
    "location", "retry-after", "www-authenticate", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
)  # fmt: skip
CORS_MAX_AGE: Final = 600  # seconds
CORRELATION_ID_FORM: Final = "[A-Za-z0-9._-]{8,64}"
# What an instance that is starting, stopping or overloaded answers; another one may do better.
RETRIED_STATUSES: Final = (502, 503, 504)

# What names a client or its way here. The gateway is the first that knows, and writes X-Forwarded-For and -Proto anew.
_FORWARDING_HEADERS: Final = (
    "forwarded",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
)


class Problem(msgspec.Struct, frozen=True):
    """How the gateway tells of an error of its own, in the words of RFC 9457."""

    title: str
    code: str
    detail: str


# Titles are the names of RFC 9110 (the standard library's change with Python's version), codes those of the services
# for the same matter. No sentence tells of hosts, ports or the gateway's reasons, which are in its log.
NO_HOST: Final = Problem(
    "Bad Request", "host_missing", 'A request must say in its header "Host" (":authority" in HTTP/2) whom it is for.'
)
PROBLEMS: Final[Mapping[int, Problem]] = {
    400: Problem("Bad Request", "bad_request", "The request is not well formed."),
    403: Problem("Forbidden", "upgrade_refused", "A WebSocket or another upgrade of the connection is not offered."),
    404: Problem("Not Found", "not_found", "Nothing answers under this path."),
    408: Problem("Request Timeout", "request_timeout", "The request did not arrive in time."),
    413: Problem("Content Too Large", "body_too_large", "The body of the request is too large."),
    426: Problem(
        "Upgrade Required",
        "http_version_refused",
        "The gateway answers HTTP/1.1 and HTTP/2. An nginx before it speaks HTTP/1.0 unless it is told "
        '"proxy_http_version 1.1;".',
    ),
    429: Problem("Too Many Requests", "throttled", "Too many requests; wait before the next one."),
    431: Problem(
        "Request Header Fields Too Large",
        "headers_too_large",
        "The headers of the request are too many or too large.",
    ),
    502: Problem("Bad Gateway", "bad_gateway", "The service gave an answer that is not well formed."),
    503: Problem(
        "Service Unavailable", "service_unavailable", "The service can't be reached at the moment; try again."
    ),
    504: Problem("Gateway Timeout", "gateway_timeout", "The service did not answer in time."),
}


def stripped_headers() -> tuple[str, ...]:
    """Return, in small letters, what is taken out of every request: what only the platform may say."""
    return tuple(sorted({name.lower() for name in wire.INTERNAL_HEADERS} | set(_FORWARDING_HEADERS)))
