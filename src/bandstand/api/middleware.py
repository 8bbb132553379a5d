"""ProblemDetailsMiddleware: every error of a service is a problem document, also Django's own."""

from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import is_valid_path
from django.utils.decorators import sync_and_async_middleware

from bandstand.api.problems import Problem, generic_problem
from bandstand.api.translation import problem_of

__all__ = ["ProblemDetailsMiddleware"]

API_PREFIX: Final = "/api/"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@sync_and_async_middleware
def ProblemDetailsMiddleware(get_response: Any) -> Any:  # noqa: N802 - Django names middleware as classes
    """Turn errors into ``application/problem+json``: below ``/api/`` always, elsewhere unless a browser asks.

    Put it second in ``MIDDLEWARE``, after ``RequestTrackingMiddleware``. With ``DEBUG`` on it answers the same; the
    stack is in the log.
    """
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            return _missing_slash(request) or _as_problem(request, await get_response(request))
    else:

        def middleware(request: HttpRequest) -> HttpResponseBase:  # type: ignore[misc]
            return _missing_slash(request) or _as_problem(request, get_response(request))

    middleware.process_exception = _process_exception  # type: ignore[attr-defined]
    return middleware


def _process_exception(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """Answer what a plain Django view raised; REST framework's views have answered theirs already."""
    problem = problem_of(error) if _wants_problem(request) else None
    return problem.response(request.path) if problem else None


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code < 400 or response.streaming or _is_json(response) or not _wants_problem(request):
        return response
    problem = generic_problem(response.status_code).response(request.path)
    for name, value in response.headers.items():
        if name not in {"Content-Type", "Content-Length", "Content-Encoding", "Content-Disposition"}:
            problem.headers[name] = value
    problem.cookies = response.cookies
    return problem


def _is_json(response: HttpResponseBase) -> bool:
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return media_type == "application/json" or media_type.endswith("+json")


def _wants_problem(request: HttpRequest) -> bool:
    return request.path_info.startswith(API_PREFIX) or "text/html" not in request.META.get("HTTP_ACCEPT", "")


def _missing_slash(request: HttpRequest) -> HttpResponse | None:
    """Refuse a write whose address lacks its last slash: Django would redirect it, which loses the body."""
    path = request.path_info
    if path.endswith("/") or request.method in _SAFE or not path.startswith(API_PREFIX):
        return None
    urlconf = getattr(request, "urlconf", None)
    if is_valid_path(path, urlconf) or not is_valid_path(f"{path}/", urlconf):
        return None
    problem = Problem(
        status=404, code="not_found", detail="There is nothing here; the address needs a slash at its end."
    )
    return problem.response(request.path)
