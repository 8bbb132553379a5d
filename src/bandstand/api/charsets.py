"""Takes the charset out of ``Content-Type`` before Django sees it.

Django decodes the query with the charset of the body while it makes the request, which is before any middleware. One
that is no text encoding (``rot13``), or a query of 1,001 fields beside an innocent ``charset=utf-8``, is an exception
that nobody catches: the server's own bare 500. So the charset is noted and taken away; without it Django takes UTF-8,
and decodes the query only when somebody reads it.
"""

import re
from typing import Any, Final

from django.core.signals import request_started
from django.http import HttpRequest

__all__ = ["connect", "noted"]

_NOTED: Final = "bandstand.charset"
_CHARSET: Final = re.compile(r""";\s*charset\s*=\s*("[^"]*"|[^;]*)""", re.IGNORECASE)
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", ""})


def connect() -> None:
    """Look at each request from now on."""
    request_started.connect(_take_out, dispatch_uid="bandstand.api.charsets")


def noted(request: HttpRequest) -> str:
    """Return the charset that the client named for the body, or an empty text if it is UTF-8."""
    place: dict[str, Any] = getattr(request, "scope", request.META)
    charset: str = place.get(_NOTED, "")
    return charset


def _take_out(environ: dict[str, Any] | None = None, scope: dict[str, Any] | None = None, **_: Any) -> None:
    if environ is not None:
        if "CONTENT_TYPE" in environ:
            environ["CONTENT_TYPE"], environ[_NOTED] = _without_charset(environ["CONTENT_TYPE"])
    elif scope is not None:
        scope["headers"] = [_of_scope(scope, name, value) for name, value in scope.get("headers", ())]


def _of_scope(scope: dict[str, Any], name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name != b"content-type":
        return name, value
    content_type, scope[_NOTED] = _without_charset(value.decode("latin-1"))
    return name, content_type.encode("latin-1")


def _without_charset(content_type: str) -> tuple[str, str]:
    found = _CHARSET.search(content_type) if ";" in content_type else None
    if found is None:
        return content_type, ""
    charset = found[1].strip(' "').lower()
    return _CHARSET.sub("", content_type), "" if charset in _UTF8 else charset
