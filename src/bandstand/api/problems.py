"""Problem documents: what every error of a service looks like on the wire (RFC 9457)."""

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from django.http import HttpResponse

from bandstand.conf import get_settings, wire
from bandstand.context import current, uri_reference
from bandstand.structs import build_type

__all__ = ["PROBLEM_TYPE", "FieldFault", "Problem", "generic_problem", "problem_response"]

PROBLEM_TYPE: Final = "application/problem+json"


class FieldFault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field: its path with dots (``items.0.quantity``; empty: the whole body)."""

    field: str
    message: str
    code: str


build_type(FieldFault)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One error: HTTP ``status``, ``code`` for machines, ``detail`` for people, seconds to wait before another try.

    ``do_not_retry``: another try was made already, in vain.
    """

    status: int
    code: str
    detail: str
    errors: tuple[FieldFault, ...] = ()
    retry_after: float | None = None
    do_not_retry: bool = False

    def document(self, instance: str | None = None) -> dict[str, Any]:
        """Return the body, with this service's name and the bound correlation id.

        ``instance`` is the path of the request as Django has it, decoded; in the body it is a URI reference.
        """
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": _phrase(self.status),
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            body["instance"] = uri_reference(instance)
        body["code"] = self.code
        body["service"] = get_settings().service
        body["correlation_id"] = current().correlation_id
        if self.errors:
            body["errors"] = [msgspec.to_builtins(error) for error in self.errors]
        return body

    def headers(self) -> dict[str, str]:
        """Return ``Retry-After`` in whole seconds, at least 1, and ``X-Do-Not-Retry``, where they apply."""
        headers = {wire.DO_NOT_RETRY: "1"} if self.do_not_retry else {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return headers

    def response(self, instance: str | None = None, headers: Mapping[str, str] | None = None) -> HttpResponse:
        """Return the answer itself."""
        return HttpResponse(
            msgspec.json.encode(self.document(instance)),
            status=self.status,
            content_type=PROBLEM_TYPE,
            headers={**self.headers(), **(headers or {})},
        )


def problem_response(
    status: int,
    code: str,
    detail: str,
    errors: Iterable[FieldFault | Mapping[str, str]] | None = None,
    *,
    instance: str | None = None,
    retry_after: float | None = None,
) -> HttpResponse:
    """Return an ``application/problem+json`` answer of this service.

    ``code`` is the fault's name for machines (it never changes), ``detail`` a sentence for people (it may), ``errors``
    the faults of single fields, ``instance`` the decoded path of the request, ``retry_after`` the seconds to wait
    before another try.
    """
    faults = tuple(msgspec.convert(error, FieldFault, from_attributes=True) for error in errors or ())
    problem = Problem(status=status, code=code, detail=detail, errors=faults, retry_after=retry_after)
    return problem.response(instance)


_GENERIC: Final[dict[int, tuple[str, str]]] = {
    400: ("bad_request", "The request can't be understood."),
    401: ("not_authenticated", "Say who you are: send a valid token."),
    403: ("permission_denied", "You may not do this."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This method is not offered here; the header Allow names those that are."),
    406: ("not_acceptable", "This is only offered as JSON."),
    408: ("request_timeout", "The request did not arrive in time."),
    409: ("conflict", "This contradicts what is already there."),
    411: ("length_required", "Send the header Content-Length."),
    413: ("body_too_large", "The body is larger than this service takes."),
    414: ("uri_too_long", "The address is too long."),
    415: ("unsupported_media_type", "This media type is not taken here; send application/json."),
    422: ("unprocessable", "The request is understood, but can't be carried out."),
    429: ("throttled", "Too many requests. Wait before the next."),
    500: ("internal_error", "Something went wrong in this service. The correlation id finds it in the logs."),
    501: ("not_implemented", "This is not offered."),
    502: ("bad_gateway", "A service that this one needs gave an answer that can't be used."),
    503: ("unavailable", "This service can't answer now. Try again soon."),
    504: ("gateway_timeout", "A service that this one needs did not answer in time."),
}


def generic_problem(status: int) -> Problem:
    """Return the problem that says no more than the status does."""
    code, detail = _GENERIC.get(status) or (f"http_{status}", _phrase(status) + ".")
    return Problem(status=status, code=code, detail=detail)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
