"""What the gateway itself answers when a request does not get through: problem details (RFC 9457)."""

from typing import Final

from bandstand.conf import wire
from bandstand.workspace.export.envoy.values import Json

__all__ = ["local_replies"]

# Status, its name in RFC 9110 (the standard library's names change with Python's version), code and sentence. Codes are
# those of the services for the same matter. No sentence tells of hosts, ports or Envoy's reasons, which are in its log.
_PROBLEMS: Final = (
    (400, "Bad Request", "bad_request", "The request is not well formed."),
    (404, "Not Found", "not_found", "Nothing answers under this path."),
    (408, "Request Timeout", "request_timeout", "The request did not arrive in time."),
    (413, "Content Too Large", "body_too_large", "The body of the request is too large."),
    (429, "Too Many Requests", "throttled", "Too many requests; wait before the next one."),
    (
        431,
        "Request Header Fields Too Large",
        "headers_too_large",
        "The headers of the request are too many or too large.",
    ),
    (502, "Bad Gateway", "bad_gateway", "The service gave an answer that is not well formed."),
    (503, "Service Unavailable", "service_unavailable", "The service can't be reached at the moment; try again."),
    (504, "Gateway Timeout", "gateway_timeout", "The service did not answer in time."),
)

# In seconds, as the text of a header. For 429 the filters know the time.
_RETRY_AFTER: Final = {503: "1"}


def local_replies() -> Json:
    """Return how each error that begins in the gateway reads; an answer of a service is never touched."""
    problems = [
        _mapper("EQ", status, _problem(status, title, code, detail)) for status, title, code, detail in _PROBLEMS
    ]
    return {"mappers": [*problems, _mapper("GE", 400, _other_problem())]}


def _mapper(comparison: str, status: int, problem: Json) -> Json:
    value = {"default_value": status, "runtime_key": f"bandstand.problem.{status}"}
    wait = _RETRY_AFTER.get(status) if comparison == "EQ" else None
    return {
        "headers_to_add": [{"header": {"key": "retry-after", "value": wait}}] if wait else [],
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {"json_format": problem, "content_type": "application/problem+json"},
    }


def _problem(status: int, title: str, code: str, detail: str) -> Json:
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "service": "gateway",
        "correlation_id": f"%REQ({wire.CORRELATION_ID})%",
    }


def _other_problem() -> Json:
    problem = _problem(400, "Request Failed", "request_failed", "The gateway could not answer the request.")
    return {**problem, "status": "%RESPONSE_CODE%"}
