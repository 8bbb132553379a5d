"""The admin: limits on signing in, and no pages at all where nobody asked for them."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings as django_settings
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.views import APIView

from bandstand.api import devices
from bandstand.api.throttles import AccountThrottle, LoginThrottle, ThrottleUnavailable
from bandstand.conf import get_settings
from bandstand.context import problem_response

__all__ = ["LimitedAdminSite"]

_COOKIE: Final = "bandstand_device"


class _AdminThrottle(LoginThrottle):
    """Limits on signing in to the admin; an account has the same tries here and at the API together."""

    account_field = "username"

    def sent_device(self, request: Request) -> object:
        return request.COOKIES.get(_COOKIE)


class _RefusedForm(AdminAuthenticationForm):
    """The form as it was sent, with the wait as its error. No password is looked at."""

    def __init__(self, request: HttpRequest, *, wait: float) -> None:
        super().__init__(request, data=request.POST)
        self._wait = wait

    def clean(self) -> dict[str, Any]:
        raise ValidationError(_too_many_tries(self._wait), code="throttled")


class LimitedAdminSite(AdminSite):
    """An admin whose sign-in is limited for each account and address, and that is there only where it is wanted.

    ``BANDSTAND["API"]["ADMIN"]`` (``BANDSTAND_ADMIN``, by default ``DEBUG``) says whether it has any pages. The limits
    are those of :class:`LoginThrottle`; a browser that has signed in before is a known device.
    """

    def get_urls(self) -> list[Any]:
        """Return the pages, or none where the admin is off: then every path below it is 404."""
        return super().get_urls() if get_settings().api.admin else []

    @method_decorator(never_cache)
    @login_not_required
    def login(self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None) -> HttpResponse:
        """Show the form, or count a try and sign in."""
        context = dict(extra_context or {})
        if request.method != "POST":
            return super().login(request, context)
        throttle, counted = _AdminThrottle(), Request(request, parsers=[FormParser(), MultiPartParser()])
        try:
            if not throttle.allow_request(counted, APIView()):
                return self._refused(request, context, throttle.wait() or 1.0)
        except ThrottleUnavailable as error:
            return _unavailable(error)
        response = super().login(request, context)
        if response.status_code != HTTPStatus.FOUND:  # the form again, with what is wrong
            return response
        throttle.forgive(counted)
        return _with_device(response, counted, request.path)

    def password_change(  # type: ignore[override] # Django's own answers with a redirect too
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form, or count a try and change the password: it asks for the old one, which could be guessed."""
        if request.method != "POST":
            return super().password_change(request, extra_context)
        throttle, counted = AccountThrottle(), Request(request, parsers=[FormParser(), MultiPartParser()])
        counted.user = request.user
        try:
            if not throttle.allow_request(counted, APIView()):
                wait = throttle.wait() or 1.0
                return HttpResponse(
                    _too_many_tries(wait), status=HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": _seconds(wait)}
                )
        except ThrottleUnavailable as error:
            return _unavailable(error)
        response = super().password_change(request, extra_context)
        if response.status_code == HTTPStatus.FOUND:
            throttle.give_back()
        return response

    def _refused(self, request: HttpRequest, context: dict[str, Any], wait: float) -> HttpResponse:
        page = {
            **self.each_context(request),
            "title": gettext("Log in"),
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": "",
            REDIRECT_FIELD_NAME: request.POST.get(REDIRECT_FIELD_NAME, ""),
            "form": _RefusedForm(request, wait=wait),
            **context,
        }
        template, headers = self.login_template or "admin/login.html", {"Retry-After": _seconds(wait)}
        return TemplateResponse(request, template, page, status=HTTPStatus.TOO_MANY_REQUESTS, headers=headers)


def _too_many_tries(wait: float) -> str:
    return f"Too many tries. Try again in {math.ceil(wait / 60)} min."


def _seconds(wait: float) -> str:
    return str(math.ceil(wait))


def _unavailable(error: ThrottleUnavailable) -> HttpResponse:
    response = problem_response(error.status_code, error.default_code, error.default_detail)
    response.headers["Retry-After"] = _seconds(error.wait)
    return response


def _with_device(response: HttpResponse, request: Request, path: str) -> HttpResponse:
    response.set_cookie(
        _COOKIE,
        LoginThrottle.device_token(request),
        max_age=devices.LIFETIME,
        path=path,
        secure=django_settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return response
