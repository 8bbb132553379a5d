"""What the gateway itself answers when a request does not get through: problem details (RFC 9457)."""

from typing import Final

from bandstand.conf import wire
from bandstand.workspace.export.envoy.values import Json
from bandstand.workspace.export.gateway import NO_HOST, PROBLEMS, Problem

__all__ = ["local_replies"]

# In seconds, as the text of a header. For 429 the filters know the time.
_RETRY_AFTER: Final = {503: "1"}


def local_replies() -> Json:
    """Return how each error that begins in the gateway reads; an answer of a service is never touched."""
    problems = [_mapper("EQ", status, _problem(status, problem)) for status, problem in PROBLEMS.items()]
    return {"mappers": [_without_host(), *problems, _mapper("GE", 400, _other_problem())]}


def _mapper(comparison: str, status: int, problem: Json) -> Json:
    value = {"default_value": status, "runtime_key": f"bandstand.problem.{status}"}
    wait = _RETRY_AFTER.get(status) if comparison == "EQ" else None
    return {
        "headers_to_add": [{"header": {"key": "retry-after", "value": wait}}] if wait else [],
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {"json_format": problem, "content_type": "application/problem+json"},
    }


def _without_host() -> Json:
    """A request of HTTP/1.0 needs no Host: it is refused for its version, which comes first."""
    mapper = _mapper("EQ", 400, _problem(400, NO_HOST))
    absent = {"header_filter": {"header": {"name": ":authority", "present_match": True, "invert_match": True}}}
    return {**mapper, "filter": {"and_filter": {"filters": [mapper["filter"], absent]}}}


def _problem(status: int | str, problem: Problem) -> Json:
    return {
        "type": "about:blank",
        "title": problem.title,
        "status": status,
        "detail": problem.detail,
        "code": problem.code,
        "service": "gateway",
        "correlation_id": f"%REQ({wire.CORRELATION_ID})%",
    }


def _other_problem() -> Json:
    problem = Problem("Request Failed", "request_failed", "The gateway could not answer the request.")
    return _problem("%RESPONSE_CODE%", problem)
