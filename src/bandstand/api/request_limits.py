"""RequestLimitsMiddleware: what no view should ever see is refused before any view runs."""

import re
from functools import lru_cache
from io import BytesIO
from threading import BoundedSemaphore
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from bandstand.api import charsets
from bandstand.api.problems import Problem
from bandstand.api.strict_json import MAX_DIGITS, is_too_deep
from bandstand.conf import get_settings

__all__ = ["RequestLimitsMiddleware"]

_WAIT: Final = 0.2  # seconds for a place among the readers of bodies; a body that is all there takes far less
_BUSY: Final = "Too many requests are still sending their bodies. Try again soon."
_PATIENCE: Final = 4  # a body of up to so many times the limit is read to its end before it is refused
_LONG_NUMBER: Final = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))


@sync_and_async_middleware
def RequestLimitsMiddleware(get_response: Any) -> Any:  # noqa: N802 - Django names middleware as classes
    """Refuse bodies that are too large (413), too deep, in another charset, or with NUL, and addresses with NUL.

    Limits: ``BANDSTAND["API"]``. Bodies are read here, by at most half of the ``THREADS``; a request for which none is
    free is answered 503, so that slow clients leave threads to requests without a body. A body sent in chunks, without
    ``Content-Length``, is read within the same limit; Django alone would take it for empty. Put it after
    ``ProblemDetailsMiddleware``.
    """
    if iscoroutinefunction(get_response):

        async def limit_async(request: HttpRequest) -> HttpResponseBase:
            refusal = _refusal(request)
            return refusal.response(request.path) if refusal else await get_response(request)

        return limit_async

    def limit(request: HttpRequest) -> HttpResponseBase:
        refusal = _refusal(request)
        return refusal.response(request.path) if refusal else get_response(request)

    return limit


def _refusal(request: HttpRequest) -> Problem | None:
    if refusal := _of_address(request) or _of_form(request):
        return refusal
    if not request.META.get("CONTENT_LENGTH") and not request.META.get("HTTP_TRANSFER_ENCODING"):
        return None
    if not hasattr(request, "environ"):  # ASGI, where the server has read the body before
        return _of_body(request)
    readers = _readers(max(1, get_settings().api.threads // 2))
    if not readers.acquire(timeout=_WAIT):
        return Problem(status=503, code="busy", detail=_BUSY, retry_after=1.0)
    try:
        return _of_body(request)
    finally:
        readers.release()


def _of_body(request: HttpRequest) -> Problem | None:
    try:
        return _of_size(request) or _of_content(request)
    except UnreadablePostError:
        return Problem(status=400, code="body_unreadable", detail="The connection ended before the whole body arrived.")


@lru_cache
def _readers(most: int) -> BoundedSemaphore:
    """Return the semaphore of the threads that read bodies: slow clients can hold no more than ``most`` of them."""
    return BoundedSemaphore(most)


def _of_address(request: HttpRequest) -> Problem | None:
    query = request.META.get("QUERY_STRING", "")
    if "\x00" in request.path_info or "%00" in query or "\x00" in query:
        return Problem(status=400, code="forbidden_character", detail="The address holds the character NUL.")
    if len(query) > MAX_DIGITS and _LONG_NUMBER.search(unquote_to_bytes(query)):
        detail = f"A number in the address has more than {MAX_DIGITS} digits."
        return Problem(status=400, code="number_out_of_range", detail=detail)
    return None


def _of_form(request: HttpRequest) -> Problem | None:
    if charsets.noted(request):
        return Problem(status=415, code="unsupported_charset", detail="Send the body in UTF-8.")
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        return Problem(status=415, code="unsupported_encoding", detail="Send the body without compression.")
    return None


def _of_size(request: HttpRequest) -> Problem | None:
    limit = get_settings().api.max_body_bytes
    length = request.META.get("CONTENT_LENGTH")
    if not length:
        return _of_chunks(request, limit)
    if not (length.isascii() and length.isdigit()):
        return Problem(status=400, code="bad_request", detail="Content-Length is not a number.")
    size = int(length[:20])
    if size <= limit:
        return None
    if size <= _PATIENCE * limit:
        _discard(request, size)
    return _too_large(limit)


def _of_chunks(request: HttpRequest, limit: int) -> Problem | None:
    """Read a body of unknown length, and give it to Django as one of known length."""
    environ = getattr(request, "environ", None)
    if environ is not None and not environ.get("wsgi.input_terminated"):
        return Problem(status=411, code="length_required", detail="Send the header Content-Length.")
    source: Any = request if environ is None else environ["wsgi.input"]
    body = source.read(limit + 1)
    if len(body) > limit:
        _discard(source, (_PATIENCE - 1) * limit)
        return _too_large(limit)
    request.META["CONTENT_LENGTH"] = str(len(body))
    _replace_stream(request, body)
    return None


def _replace_stream(request: HttpRequest, body: bytes) -> None:
    """Make views and parsers read ``body``, since Django creates the request's stream before any middleware."""
    request._stream = BytesIO(body)  # noqa: SLF001
    request._read_started = False  # type: ignore[attr-defined]  # noqa: SLF001


def _discard(source: Any, size: int) -> None:
    """Read what is not wanted: a client that is cut off while it sends never reads the answer that says why."""
    while size > 0 and (part := source.read(min(size, 65_536))):
        size -= len(part)


def _too_large(limit: int) -> Problem:
    return Problem(status=413, code="body_too_large", detail=f"The body is larger than {limit:,} bytes.")


def _of_content(request: HttpRequest) -> Problem | None:
    """Check JSON only; forms and files are read into memory here and checked by their own parsers."""
    media_type = request.content_type or ""
    if media_type != "application/json" and not media_type.endswith("+json"):
        _replace_stream(request, request.read())
        return None
    depth = get_settings().api.max_json_depth
    body = request.body
    if b"\x00" in body:
        return Problem(status=400, code="forbidden_character", detail="The body holds the character NUL.")
    if is_too_deep(body, depth):
        return Problem(status=400, code="too_deep", detail=f"The JSON is nested deeper than {depth} levels.")
    return None
