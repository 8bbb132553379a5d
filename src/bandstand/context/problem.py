"""Problem answers (RFC 9457) for what is refused before any view runs."""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from django.http import HttpResponse

from bandstand.conf import get_settings
from bandstand.context.binding import current

__all__ = ["PROBLEM_TYPE", "problem_response", "uri_reference"]

PROBLEM_TYPE = "application/problem+json"

_PATH_CHARACTERS: Final = "/:@!$&'()*+,;="  # RFC 3986, section 3.3: what a path holds besides letters, digits and -._~


def uri_reference(path: str) -> str:
    """Return a decoded path, such as ``request.path``, as a URI reference (RFC 3986).

    Each character that a path can't hold is percent-encoded, a percent sign as well. Of several slashes at the
    beginning the second is encoded, as ``HttpRequest.get_full_path`` does it: two would begin the name of a host.
    """
    reference = quote(path, safe=_PATH_CHARACTERS, errors="surrogatepass")
    return f"/%2F{reference[2:]}" if reference.startswith("//") else reference


def problem_response(status: int, code: str, detail: str, *, instance: str | None = None) -> HttpResponse:
    """Return an ``application/problem+json`` answer of this service, with the correlation id of the bound context.

    ``code`` is the fault's name for machines, ``detail`` one or two sentences for people, ``instance`` the decoded path
    of the request.
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
        problem["instance"] = uri_reference(instance)
    return HttpResponse(msgspec.json.encode(problem), status=status, content_type=PROBLEM_TYPE)
