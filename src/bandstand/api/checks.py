"""System checks: no view without a permission policy of its own, no access to single objects by being signed in alone,
no field that accepts numbers in forms that only Python reads, no route that finds an object under one case of its id
alone, or under several addresses.

The commonest hole in APIs is that any signed-in user may read and change every object (OWASP API1:2023). A policy that
is left out can't be seen in a review; so it must be written down, and `manage.py check` looks at each route.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string
from rest_framework.permissions import AllowAny, BasePermission, IsAdminUser
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.views import APIView

from bandstand.api.fields import LENIENT_FIELDS, is_integer, key_reader
from bandstand.api.policies import PolicyTable
from bandstand.conf import get_settings

__all__ = [
    "check_admin_is_limited",
    "check_cache",
    "check_cache_is_shared",
    "check_lenient_fields",
    "check_object_addresses",
    "check_permission_policies",
]

_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")
# Imported only where the admin is installed: it needs models of django.contrib.auth.
_LIMITED_SITE: Final = "bandstand.api.admin_site.LimitedAdminSite"
_FRAMEWORKS: Final = ("rest_framework", "drf_spectacular")
# Who may do something with every object, whichever it is: no policy for single objects is needed.
_FOR_EVERY_OBJECT: Final = (AllowAny, IsAdminUser)

_NO_POLICY: Final = (
    "Write permission_classes on the view, or get_permissions() where actions differ. AllowAny says that everybody may."
)
_ANY_CASE: Final = (
    "Write <any_case_uuid:…>, on a viewset lookup_value_converter = 'any_case_uuid'; \"bandstand.api\" in "
    "INSTALLED_APPS brings it."
)
_CONVERTER: Final = "Write lookup_value_converter = '{}' on the viewset, and use_regex_path=False for its router."
_LENIENT_BACKEND: Final = "django_filters.rest_framework.backends.DjangoFilterBackend"
_NO_ROW: Final = "Add the action to `policy`, or take its route away."
_NO_OBJECT_POLICY: Final = (
    "Add a permission that looks at the object, such as bandstand.identity.owner_or_staff('user_id'), or narrow "
    "get_queryset() to what the user may see. Where each signed-in user really may, say so on the view: "
    "object_policy = 'any signed-in user'."
)


@register(Tags.security)
def check_permission_policies(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return an error for each view of the URLconf that does not say who may use it."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    faults: dict[tuple[str, str], CheckMessage] = {}
    for route, pattern in _patterns(get_resolver().url_patterns):
        for fault in _faults(route, pattern):
            faults.setdefault((str(fault.id), str(fault.obj)), fault)
    return list(faults.values())


@register(Tags.security)
def check_cache(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return an error when throttles would count in a cache that keeps nothing."""
    if not isinstance(caches[get_settings().cache.alias], DummyCache):
        return []
    text = "The cache keeps nothing, so there is no limit on guessing passwords."
    return [
        Error(text, hint="Use LocMemCache in development, and CACHE_URL=redis://… elsewhere.", id="bandstand.api.E004")
    ]


@register(Tags.security, deploy=True)
def check_admin_is_limited(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return a warning when nothing limits sign-in attempts at Django's admin."""
    if not apps.is_installed("django.contrib.admin"):
        return []
    site = import_string(apps.get_app_config("admin").default_site)  # type: ignore[attr-defined] # of AdminConfig
    if issubclass(site, import_string(_LIMITED_SITE)):
        return []
    text = "Nothing limits how often somebody guesses passwords at the sign-in of Django's admin."
    hint = "In INSTALLED_APPS, write 'bandstand.api.admin_app.LimitedAdminConfig' for 'django.contrib.admin'."
    return [Warning(text, hint=hint, id="bandstand.api.W006")]


@register(Tags.security, deploy=True)
def check_cache_is_shared(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return a warning when each process would count for itself."""
    if not isinstance(caches[get_settings().cache.alias], LocMemCache):
        return []
    text = "Each process has a cache of its own, so limits hold for each process alone."
    return [Warning(text, hint="Set CACHE_URL=redis://…", id="bandstand.api.W001")]


@register(Tags.compatibility)
def check_lenient_fields(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return a warning for each field and filter of the service that takes ``"1_0"`` for 10.

    It looks at every serializer class that the URLconf has imported, so also at those that only a view's code uses.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    views = {getattr(pattern.callback, "cls", None) for _, pattern in _patterns(get_resolver().url_patterns)}
    return [*_lenient_fields(), *(warning for view in views if view for warning in _lenient_filters(view))]


@register(Tags.urls)
def check_object_addresses(app_configs: Any = None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    """Return a warning for each route that misses a UUID in capitals, or finds an object under several addresses."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    faults: dict[tuple[str, str], CheckMessage] = {}
    for route, pattern in _patterns(get_resolver().url_patterns):
        cls = getattr(pattern.callback, "cls", None)
        if isinstance(cls, type) and issubclass(cls, APIView) and not _is_foreign(cls):
            for fault in _address_faults(route, cls):
                faults.setdefault((str(fault.id), str(fault.obj)), fault)
    return list(faults.values())


def _address_faults(route: str, cls: type[APIView]) -> Iterator[CheckMessage]:
    where = f"{_name(cls)} (at /{route})"
    if "<uuid:" in route:
        text = f"{where} does not find a UUID in capital letters: Django's converter `uuid` takes lower case only."
        yield Warning(text, hint=_ANY_CASE, obj=_name(cls), id="bandstand.api.W004")
    reader = _key_reader(cls) if _takes_any_text(cls, route) else None
    if reader is not None:
        text = f"{where} finds one object under many addresses: Django takes 1_0 for 10, and a UUID in many forms."
        converter = "int" if reader is is_integer else "any_case_uuid"
        yield Warning(text, hint=_CONVERTER.format(converter), obj=_name(cls), id="bandstand.api.W005")


def _takes_any_text(cls: type[APIView], route: str) -> bool:
    name = getattr(cls, "lookup_url_kwarg", None) or getattr(cls, "lookup_field", None)
    return name is not None and re.search(rf"(?<!P)<(?:str:)?{name}>|P<{name}>\[\^/\.?\]\+", route) is not None


def _key_reader(cls: type[APIView]) -> Callable[[str], bool] | None:
    rows = getattr(cls, "queryset", None)
    if rows is None:
        return None
    field, options = getattr(cls, "lookup_field", "pk"), rows.model._meta  # noqa: SLF001 - Django's documented model API
    return key_reader(
        options.pk if field == "pk" else next((each for each in options.fields if each.name == field), None)
    )


def _lenient_fields() -> Iterator[CheckMessage]:
    for cls in sorted(_subclasses(Serializer), key=_name):
        if _is_foreign(cls):
            continue
        for name, field in _fields(cls):
            plain = next((kind for kind in (type(field), type(_innermost(field))) if kind in LENIENT_FIELDS), None)
            if plain is not None and not field.read_only:
                yield Warning(
                    f"{_name(cls)}.{name} is REST framework's {plain.__name__}, which takes '1_0' for a number.",
                    hint=f"Use bandstand.api.{plain.__name__}; bandstand.api.ModelSerializer has it for columns.",
                    obj=f"{_name(cls)}.{name}",
                    id="bandstand.api.W002",
                )


def _lenient_filters(view: type) -> Iterator[CheckMessage]:
    for backend in getattr(view, "filter_backends", ()):
        if _name(backend) == _LENIENT_BACKEND:
            yield Warning(
                f"{_name(view)} filters by django-filter's own backend, which takes '1_0' for a number.",
                hint="Use bandstand.api.FilterBackend in its place.",
                obj=_name(view),
                id="bandstand.api.W003",
            )


def _fields(cls: type[BaseSerializer[Any]]) -> Iterable[tuple[str, Any]]:
    try:
        return list(cls().fields.items())  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - a serializer that needs arguments, a request or a Meta of its subclasses
        return []


def _innermost(field: Any) -> Any:
    """Return what a list, a dictionary or a relation to many is made of."""
    while inner := getattr(field, "child", None) or getattr(field, "child_relation", None):
        field = inner
    return field


def _subclasses(cls: type) -> set[type[Any]]:
    found: set[type[Any]] = set(cls.__subclasses__())
    return found.union(*map(_subclasses, found))


def _patterns(patterns: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route, pattern


def _faults(route: str, pattern: URLPattern) -> Iterator[CheckMessage]:
    cls = getattr(pattern.callback, "cls", None)
    if not (isinstance(cls, type) and issubclass(cls, APIView)) or _is_foreign(cls):
        return
    initial: dict[str, Any] = getattr(pattern.callback, "initkwargs", {})
    if not _has_policy(cls, initial):
        text = f"{_name(cls)} (at /{route}) does not say who may use it."
        yield Error(text, hint=_NO_POLICY, obj=_name(cls), id="bandstand.api.E001")
        return
    for action in _unnamed(cls, pattern.callback):
        text = f"{_name(cls)}.{action} (at /{route}) is not in the policy table, so it is refused to everybody."
        yield Error(text, hint=_NO_ROW, obj=f"{_name(cls)}.{action}", id="bandstand.api.E003")
    if set(_PARAMETER.findall(route)) - {"format", "version"}:
        yield from _object_faults(route, pattern.callback, cls, initial)


def _object_faults(route: str, callback: Any, cls: type[APIView], initial: dict[str, Any]) -> Iterator[CheckMessage]:
    for action in _actions(callback):
        if not _has_object_policy(cls, initial, action):
            name = f"{_name(cls)}.{action}" if action else _name(cls)
            text = f"{name} (at /{route}) gives every object to whoever is let in."
            yield Error(text, hint=_NO_OBJECT_POLICY, obj=name, id="bandstand.api.E002")


def _unnamed(cls: type[APIView], callback: Any) -> Iterable[str]:
    """Return the actions of the route that the class's policy table does not name."""
    if not issubclass(cls, PolicyTable):
        return []
    return [action for action in _actions(callback) if action is not None and action not in cls.policy]


def _has_policy(cls: type[APIView], initial: dict[str, Any]) -> bool:
    if "permission_classes" in initial:
        return True
    written = _written(cls, "permission_classes")
    # The class that @api_view makes of a function carries the framework's default as if somebody had written it.
    chosen = written is not None and written is not APIView.permission_classes
    return chosen or _written(cls, "get_permissions") is not None


def _has_object_policy(cls: type[APIView], initial: dict[str, Any], action: str | None) -> bool:
    if getattr(cls, "object_policy", None) or _written(cls, "get_queryset") or _written(cls, "get_object"):
        return True
    view = cls(**initial)
    view.action = action  # type: ignore[attr-defined]
    view.request, view.args, view.kwargs = None, (), {}  # type: ignore[assignment]
    try:
        permissions = view.get_permissions()
    except Exception:  # noqa: BLE001 - a method that looks at the request has thought of more than is seen from here
        return True
    return any(_judges_objects(permission) for permission in permissions)


def _judges_objects(permission: Any) -> bool:
    """Say whether the permission decides about single objects: itself, or by what it is composed of."""
    operands = [getattr(permission, name) for name in ("op1", "op2") if hasattr(permission, name)]
    if operands:  # of AND one must, of OR and NOT all
        combine = any if type(permission).__name__ == "AND" else all
        return combine(_judges_objects(operand) for operand in operands)
    if isinstance(permission, _FOR_EVERY_OBJECT):
        return True
    return type(permission).has_object_permission is not BasePermission.has_object_permission


def _actions(callback: Any) -> Iterable[str | None]:
    actions: dict[str, str] | None = getattr(callback, "actions", None)
    return sorted(set(actions.values())) if actions else (None,)


def _written(cls: type, name: str) -> Any:
    """Return the attribute where a class that is not a framework's defines it, else None."""
    for base in cls.__mro__:
        if name in vars(base) and not _is_foreign(base):
            return vars(base)[name]
    return None


def _is_foreign(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in _FRAMEWORKS


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
