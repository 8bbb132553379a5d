"""REST framework's hook for exceptions that views raise."""

from collections.abc import Iterator
from typing import Any, Final

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from bandstand.api.problems import PROBLEM_TYPE, FieldFault, Problem
from bandstand.api.renderers import JSONRenderer
from bandstand.api.translation import problem_of

__all__ = ["ProblemRenderer", "exception_handler"]

_CODES: Final = {
    "error": "internal_error",
    "invalid": "validation_failed",
    "parse_error": "malformed_body",
    "unsupported_media_type": "unsupported_media_type",
}


class ProblemRenderer(JSONRenderer):
    """Renders a problem, whatever the client would have accepted for a success."""

    media_type = PROBLEM_TYPE


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the problem answer for ``error``; None for a fault of the program, which REST framework raises again."""
    problem = _of_rest_framework(error) if isinstance(error, exceptions.APIException) else problem_of(error)
    if problem is None:
        return None
    set_rollback()
    request = context["request"]
    request.accepted_renderer, request.accepted_media_type = ProblemRenderer(), PROBLEM_TYPE
    return Response(
        problem.document(request.path), status=problem.status, headers={**problem.headers(), **_headers(error, request)}
    )


def _headers(error: Exception, request: Request) -> dict[str, str]:
    headers: dict[str, str] = dict(getattr(error, "headers", None) or {})
    if isinstance(error, exceptions.Throttled):
        headers |= getattr(request, "rate_limit", {})
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    return headers


def _of_rest_framework(error: exceptions.APIException) -> Problem:
    wait = getattr(error, "wait", None)
    if isinstance(error, exceptions.ValidationError):
        return Problem(
            status=error.status_code,
            code="validation_failed",
            detail="The request holds values that are not valid.",
            errors=tuple(_faults(error.detail)),
        )
    if isinstance(error.detail, (list, dict)):
        first = next(_faults(error.detail), FieldFault(field="", message=str(error.default_detail), code="error"))
        return Problem(
            status=error.status_code,
            code=_CODES.get(first.code, first.code),
            detail=first.message,
            errors=tuple(_faults(error.detail)),
            retry_after=wait,
        )
    code = str(error.detail.code)
    return Problem(status=error.status_code, code=_CODES.get(code, code), detail=str(error.detail), retry_after=wait)


def _faults(detail: Any, path: str = "") -> Iterator[FieldFault]:
    """Walk the nested lists and dictionaries in which serializers collect their errors."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else str(name)
            yield from _faults(inner, ".".join(filter(None, (path, step))))
    elif isinstance(detail, (list, tuple)):
        many = any(isinstance(inner, (dict, list)) for inner in detail)
        for index, inner in enumerate(detail):
            yield from _faults(inner, ".".join(filter(None, (path, str(index) if many else ""))))
    else:
        yield FieldFault(field=path, message=str(detail), code=str(getattr(detail, "code", "") or "invalid"))
