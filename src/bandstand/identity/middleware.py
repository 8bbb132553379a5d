"""ServiceAuthMiddleware: which service is asking, and whether it may."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from bandstand.conf import get_settings, wire
from bandstand.context import bind, counter, current, problem_response
from bandstand.exceptions import CallerNotAllowed, IdentityError, InvalidToken
from bandstand.identity.replay import afirst_use, first_use
from bandstand.identity.service_tokens import service_verifier
from bandstand.identity.tokens import Claims

__all__ = ["ServiceAuthMiddleware"]

Handler = Callable[[HttpRequest], HttpResponseBase]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

_HEADER: Final = "HTTP_" + wire.SERVICE_TOKEN.upper().replace("-", "_")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_logger: Final = logging.getLogger("bandstand.identity")
_not_allowed: Final = counter(
    "bandstand_callers_refused_total", "Requests of known services that may not call this one.", ("caller",)
)


@sync_and_async_middleware
def ServiceAuthMiddleware(get_response: Any) -> Any:  # noqa: N802 - Django names middleware as classes
    """Verify ``X-Service-Token`` and set ``request.service`` and the context's ``service`` to the caller.

    Without the header ``request.service`` is None and the request goes on: views decide whether a service has to ask.
    A token that is not valid is answered 401, a service that may not call this one 403. Put it right after
    RequestTrackingMiddleware.
    """
    return _async_auth(get_response) if iscoroutinefunction(get_response) else _sync_auth(get_response)


def _sync_auth(get_response: Handler) -> Handler:
    def authenticate(request: HttpRequest) -> HttpResponseBase:
        try:
            claims = _caller(request)
            if claims is not None and _only_once(request) and not first_use(claims):
                service_verifier().refuse("replay", signer=claims.iss)
        except IdentityError as error:
            return _refusal(error)
        _name_caller(request, claims)
        if claims is None:
            return get_response(request)
        with bind(current().replace(service=claims.iss)):
            return get_response(request)

    return authenticate


def _async_auth(get_response: AsyncHandler) -> AsyncHandler:
    async def authenticate(request: HttpRequest) -> HttpResponseBase:
        try:
            claims = _caller(request)
            if claims is not None and _only_once(request) and not await afirst_use(claims):
                service_verifier().refuse("replay", signer=claims.iss)
        except IdentityError as error:
            return _refusal(error)
        _name_caller(request, claims)
        if claims is None:
            return await get_response(request)
        with bind(current().replace(service=claims.iss)):
            return await get_response(request)

    return authenticate


def _caller(request: HttpRequest) -> Claims | None:
    token = request.META.get(_HEADER)
    if token is None:
        return None
    claims = service_verifier().verify(token)
    settings = get_settings()
    if claims.iss not in settings.identity.allowed_callers:
        _not_allowed.labels(claims.iss).inc()
        _logger.warning("%s is not on the list of callers (%s)", claims.iss, wire.ALLOWED_CALLERS)
        raise CallerNotAllowed(f"{claims.iss} may not call {settings.service}.")
    return claims


def _only_once(request: HttpRequest) -> bool:
    return request.method not in _SAFE_METHODS and get_settings().identity.replay == "deny"


def _name_caller(request: HttpRequest, claims: Claims | None) -> None:
    request.service = None if claims is None else claims.iss  # type: ignore[attr-defined] # ours to add, as Django's own middleware adds `user`


def _refusal(error: IdentityError) -> HttpResponse:
    if isinstance(error, InvalidToken):
        # One text for every reason: which check failed is for our logs, not for whoever forges tokens.
        detail = f"The {wire.SERVICE_TOKEN} header does not hold a valid token for this service."
        response = problem_response(401, "invalid_service_token", detail)
        response.headers["WWW-Authenticate"] = "ServiceToken"
        return response
    return problem_response(403, error.code, str(error))
