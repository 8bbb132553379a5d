"""What REST framework needs to behave the same in every service.

- ``rest_framework_settings()`` and ``spectacular_settings(title, version)`` are the values of ``REST_FRAMEWORK`` and
  ``SPECTACULAR_SETTINGS``.
- ``ProblemDetailsMiddleware`` makes every error a problem document (RFC 9457); ``exception_handler`` does so inside
  views, ``problem_response(status, code, detail)`` by hand.
- ``RequestLimitsMiddleware`` refuses what no view should see: bodies over 1 MB, deep JSON, NUL, other charsets.
  ``StrictJSONParser`` and ``JSONRenderer`` read and write JSON and nothing else.
- ``Idempotent`` (a mixin) and ``idempotent`` (a decorator) make a write safe to repeat under an ``Idempotency-Key``.
  ``IdempotencyRecord`` is their table, ``purge_expired()`` deletes its expired rows.
- ``PageNumberPagination`` and ``CursorPagination``; ``ClientThrottle``, ``AccountThrottle`` and ``LoginThrottle``.
- ``SignInIsCurrent`` refuses tokens of a sign-in that has ended; ``end_sign_in(sid)`` records that one has, in the
  table ``EndedSignIn``.
- ``PolicyTable``: who may use which action of a viewset; ``NoOne`` is who may use all others.
- ``ChangesOnlySerializer`` and ``save_unique`` for writes at the same time, ``StableOrderingFilter`` for lists that are
  the same from page to page, ``LookOnly`` for the admin. ``LimitedAdminSite`` is ``admin.site`` with limits on
  signing in; it has pages only where ``BANDSTAND_ADMIN`` or ``DEBUG`` is on.
- ``IntegerField``, ``DecimalField``, ``UUIDField`` and the other fields of serializers, ``ModelSerializer`` with them,
  and ``FilterBackend`` for django-filter: they read numbers as JSON writes them, and refuse ``"1_0"``.
- ``ProblemAutoSchema``: the OpenAPI document has summaries, examples and each status; ``raises`` names the errors of an
  action. ``bandstand.api.urls``: the document at ``/api/schema/`` and pages to read it at ``/api/docs/``.

Add ``"bandstand.api"`` to ``INSTALLED_APPS``: it brings the tables and a system check that refuses views without an
explicit permission policy.

``settings.py`` imports from here while settings are still being read, and REST framework reads settings when it is
imported. So the names below are looked up when they are first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from bandstand.api.settings import rest_framework_settings, spectacular_settings

if TYPE_CHECKING:
    from bandstand.api.admin_site import LimitedAdminSite
    from bandstand.api.fields import (
        BigIntegerField,
        DateField,
        DateTimeField,
        DecimalField,
        DurationField,
        FloatField,
        IntegerField,
        ModelSerializer,
        PrimaryKeyRelatedField,
        TimeField,
        UUIDField,
    )
    from bandstand.api.filters import FilterBackend
    from bandstand.api.handling import exception_handler
    from bandstand.api.idempotency import Idempotent, idempotent, purge_expired
    from bandstand.api.look_only import LookOnly
    from bandstand.api.middleware import ProblemDetailsMiddleware
    from bandstand.api.models import EndedSignIn, IdempotencyRecord
    from bandstand.api.ordering import StableOrderingFilter
    from bandstand.api.pagination import CursorPagination, PageNumberPagination
    from bandstand.api.parsers import StrictJSONParser
    from bandstand.api.policies import NoOne, PolicyTable
    from bandstand.api.problems import FieldFault, Problem, problem_response
    from bandstand.api.raising import raises
    from bandstand.api.renderers import JSONRenderer
    from bandstand.api.request_limits import RequestLimitsMiddleware
    from bandstand.api.schema import ProblemAutoSchema
    from bandstand.api.serializers import ChangesOnlySerializer, save_unique
    from bandstand.api.sign_ins import SignInIsCurrent, end_sign_in
    from bandstand.api.throttles import AccountThrottle, ClientThrottle, LoginThrottle

__all__ = [
    "AccountThrottle",
    "BigIntegerField",
    "ChangesOnlySerializer",
    "ClientThrottle",
    "CursorPagination",
    "DateField",
    "DateTimeField",
    "DecimalField",
    "DurationField",
    "EndedSignIn",
    "FieldFault",
    "FilterBackend",
    "FloatField",
    "IdempotencyRecord",
    "Idempotent",
    "IntegerField",
    "JSONRenderer",
    "LimitedAdminSite",
    "LoginThrottle",
    "LookOnly",
    "ModelSerializer",
    "NoOne",
    "PageNumberPagination",
    "PolicyTable",
    "PrimaryKeyRelatedField",
    "Problem",
    "ProblemAutoSchema",
    "ProblemDetailsMiddleware",
    "RequestLimitsMiddleware",
    "SignInIsCurrent",
    "StableOrderingFilter",
    "StrictJSONParser",
    "TimeField",
    "UUIDField",
    "end_sign_in",
    "exception_handler",
    "idempotent",
    "problem_response",
    "purge_expired",
    "raises",
    "rest_framework_settings",
    "save_unique",
    "spectacular_settings",
]

_HOMES = {
    "AccountThrottle": "throttles",
    "BigIntegerField": "fields",
    "ChangesOnlySerializer": "serializers",
    "ClientThrottle": "throttles",
    "CursorPagination": "pagination",
    "DateField": "fields",
    "DateTimeField": "fields",
    "DecimalField": "fields",
    "DurationField": "fields",
    "EndedSignIn": "models",
    "FieldFault": "problems",
    "FilterBackend": "filters",
    "FloatField": "fields",
    "IdempotencyRecord": "models",
    "Idempotent": "idempotency",
    "IntegerField": "fields",
    "JSONRenderer": "renderers",
    "LimitedAdminSite": "admin_site",
    "LoginThrottle": "throttles",
    "LookOnly": "look_only",
    "ModelSerializer": "fields",
    "NoOne": "policies",
    "PageNumberPagination": "pagination",
    "PolicyTable": "policies",
    "PrimaryKeyRelatedField": "fields",
    "Problem": "problems",
    "ProblemAutoSchema": "schema",
    "ProblemDetailsMiddleware": "middleware",
    "RequestLimitsMiddleware": "request_limits",
    "SignInIsCurrent": "sign_ins",
    "StableOrderingFilter": "ordering",
    "StrictJSONParser": "parsers",
    "TimeField": "fields",
    "UUIDField": "fields",
    "end_sign_in": "sign_ins",
    "exception_handler": "handling",
    "idempotent": "idempotency",
    "problem_response": "problems",
    "purge_expired": "idempotency",
    "raises": "raising",
    "save_unique": "serializers",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
