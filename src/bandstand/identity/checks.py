"""Django system checks of keys and callers."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name

from bandstand.conf import get_settings, wire
from bandstand.conf.settings import IdentitySettings
from bandstand.exceptions import ConfigurationError
from bandstand.identity.keyring import key_files
from bandstand.identity.service_tokens import SERVICE_TOKEN
from bandstand.identity.user_tokens import USER_TOKEN

__all__ = ["check_identity", "register_checks"]

_MIDDLEWARE: Final = "bandstand.identity.ServiceAuthMiddleware"
_TRACKING: Final = "bandstand.context.RequestTrackingMiddleware"
# Orchestrators mount secrets readable by a group that is the process's own, so reading by the group is in order.
_TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO


def register_checks() -> None:
    """Register the room's checks with Django."""
    register(check_identity, Tags.security)


def check_identity(**_: Any) -> list[CheckMessage]:
    """Check key files, lifetimes, the address of the key set, and who may call."""
    identity = get_settings().identity
    return [*_key_files(), *_key_modes(identity), *_lifetimes(identity), *_key_set_url(identity), *_callers(identity)]


def _key_files() -> Iterator[CheckMessage]:
    for variable, file in key_files().items():
        try:
            file.get()
        except ConfigurationError as error:
            yield Error(str(error), hint=f"{variable} names the file.", id="bandstand.identity.E001")


def _key_modes(identity: IdentitySettings) -> Iterator[CheckMessage]:
    private = {wire.SERVICE_KEY_FILE: identity.service_key_file, wire.USER_KEY_FILE: identity.user_key_file}
    for variable, path in private.items():
        mode = _mode(path)
        if mode & _TOO_OPEN:
            yield Warning(
                f"{variable} names {path}, a private key that others than its owner may use (mode {mode:04o}).",
                hint=f"chmod 600 {path}",
                id="bandstand.identity.W001",
            )


def _mode(path: str) -> int:
    if os.path.ismount(path):
        return 0  # a file that was mounted into a container by itself: nobody else is there
    try:
        return stat.S_IMODE(Path(path).stat().st_mode) if path else 0
    except OSError:
        return 0  # that it can't be read is said by another check


def _lifetimes(identity: IdentitySettings) -> Iterator[CheckMessage]:
    lifetimes = (
        ("SERVICE_TOKEN_LIFETIME", identity.service_token_lifetime, SERVICE_TOKEN.max_lifetime),
        ("USER_TOKEN_LIFETIME", identity.user_token_lifetime, USER_TOKEN.max_lifetime),
    )
    for name, lifetime, longest in lifetimes:
        if not 0 < lifetime <= longest:
            yield Error(
                f"{name} is {lifetime} seconds; services refuse tokens that live longer than {longest}.",
                hint=f"Set BANDSTAND['IDENTITY']['{name}'] to 1 to {longest}.",
                id="bandstand.identity.E002",
            )


def _key_set_url(identity: IdentitySettings) -> Iterator[CheckMessage]:
    scheme = urlsplit(identity.user_jwks_url).scheme
    if identity.user_jwks_url and scheme not in {"file", "http", "https"}:
        yield Error(
            f"{wire.USER_JWKS_URL} begins with {scheme!r}.",
            hint="Write file:///path, http:// or https://.",
            id="bandstand.identity.E003",
        )


def _callers(identity: IdentitySettings) -> Iterator[CheckMessage]:
    middleware = list(django_settings.MIDDLEWARE)
    if identity.allowed_callers and _MIDDLEWARE not in middleware:
        yield Error(
            f"{wire.ALLOWED_CALLERS} names callers, but nothing verifies who calls.",
            hint=f"Add {_MIDDLEWARE!r} to MIDDLEWARE, after {_TRACKING!r}.",
            id="bandstand.identity.E004",
        )
    if identity.allowed_callers and not identity.trusted_keys_file:
        yield Error(
            f"{wire.ALLOWED_CALLERS} names callers, but no keys are trusted, so all of them will be refused.",
            hint=f"Set {wire.TRUSTED_KEYS_FILE} to the file with the public keys of all services.",
            id="bandstand.identity.E005",
        )
    if (
        _MIDDLEWARE in middleware
        and _TRACKING in middleware
        and middleware.index(_MIDDLEWARE) < middleware.index(_TRACKING)
    ):
        yield Error(
            f"{_MIDDLEWARE} stands before {_TRACKING}, so refusals have no correlation id and no log line.",
            hint=f"Put {_TRACKING!r} first.",
            id="bandstand.identity.E006",
        )
    if identity.replay == "deny" and _cache_is_local():
        yield Warning(
            "REPLAY is deny, but the cache is one of this process alone: another process believes the token again.",
            hint="Set CACHE_URL to a Redis that all processes of the service share.",
            id="bandstand.identity.W002",
        )


def _cache_is_local() -> bool:
    backend: str = django_settings.CACHES["default"]["BACKEND"]
    return backend.endswith((".LocMemCache", ".DummyCache"))
