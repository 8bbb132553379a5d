"""Problem answers (RFC 9457) for what is refused before any view runs."""

from http import HTTPStatus

import msgspec
from django.http import HttpResponse

from bandstand.conf import get_settings
from bandstand.context.binding import current

__all__ = ["PROBLEM_TYPE", "problem_response"]

PROBLEM_TYPE = "application/problem+json"


def problem_response(status: int, code: str, detail: str, *, instance: str | None = None) -> HttpResponse:
    """Return an ``application/problem+json`` answer of this service, with the correlation id of the bound context.

    ``code`` is the fault's name for machines, ``detail`` one or two sentences for people, ``instance`` the path asked.
    """
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "service": get_settings().service,
        "correlation_id": current().correlation_id,
    }
    if instance is not None:
        problem["instance"] = instance
    return HttpResponse(msgspec.json.encode(problem), status=status, content_type=PROBLEM_TYPE)
