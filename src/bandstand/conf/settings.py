"""The ``BANDSTAND`` setting as one frozen object, rebuilt when Django says that it changed."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import msgspec
from django.conf import settings as django_settings
from django.core.signals import setting_changed

from bandstand.conf.limits import Count, Deaths, Delays, Period, Seconds, faults
from bandstand.exceptions import ConfigurationError
from bandstand.structs import build_type

__all__ = [
    "ApiSettings",
    "CacheSettings",
    "ContextSettings",
    "DiscoverySettings",
    "EventsSettings",
    "HealthSettings",
    "IdentitySettings",
    "Settings",
    "get_settings",
]


class _Room(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=str.upper):
    """Keys are upper case in ``settings.py`` and lower case here."""


class ContextSettings(_Room, frozen=True):
    """``TRUSTED_PROXIES``: networks (CIDR) whose ``X-Forwarded-For`` is believed."""

    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")


class HealthSettings(_Room, frozen=True):
    """``TIMEOUT``: seconds that one check may take. ``CACHE``: seconds that an answer is kept, so probes stay cheap.

    ``DRAIN``: seconds from SIGTERM, when readiness turns 503, until the server is told to stop listening.
    """

    timeout: float = 2.0
    cache: float = 1.0
    drain: float = 0.0


class IdentitySettings(_Room, frozen=True):
    """Keys and who may call. Lifetimes and leeway in seconds.

    A captured service token is of use for its lifetime and the leeway at most. ``REPLAY``: ``deny`` believes a service
    token only once on an unsafe method; it needs a cache that all processes share.
    """

    service_key_file: str = ""
    trusted_keys_file: str = ""
    allowed_callers: tuple[str, ...] = ()
    service_token_lifetime: int = 30
    leeway: int = 30
    replay: Literal["allow", "deny"] = "allow"
    user_key_file: str = ""
    user_jwks_url: str = ""
    user_issuer: str = "user-service"
    user_token_lifetime: int = 270  # with the leeway, five minutes
    jwks_refresh_interval: float = 10.0


class DiscoverySettings(_Room, frozen=True):
    """``URL``: ``static:name=url,…``, ``file:///path/of/registry.json``, ``consul://host:port`` or ``dns://``.

    ``TOKEN`` is what the registry wants to see; it is never shown. ``REGISTER``: ``auto`` enters processes that serve,
    ``always`` workers too, under the name of the service with ``-worker`` behind it. ``ADVERTISE``: the host, the port
    or both that others reach. ``TAGS``: what the instance is marked with.
    """

    url: str = "static:"
    token: str = ""
    register: Literal["auto", "never", "always"] = "auto"
    advertise: str = ""
    tags: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"DiscoverySettings(url={self.url.partition(':')[0] + ':…'!r})"  # the URL may hold a token too


class EventsSettings(_Room, frozen=True):
    """Intervals and retention in seconds.

    ``POLL_INTERVAL``: how often the relay looks where the database does not notify it of commits.
    ``LEASE``: how long a process may be silent before others take over what it was sending or handling.
    ``RETRY_DELAYS``: the wait before each attempt, so their number is the number of attempts.
    ``MAX_DEATHS``: how many processes one event may end; two at least, for the first may have been another's doing.
    ``MAX_BACKLOG_AGE``: how old the oldest event in the outbox may be before ``/health/`` says degraded.
    """

    broker_url: str = "memory://"
    database: str = "default"
    threads: Count = 4
    batch: Count = 250
    poll_interval: Seconds = 0.1
    lease: Seconds = 15.0
    max_backlog_age: Period = 60.0
    retry_delays: Delays = (0.0, 1.0, 5.0, 30.0, 120.0)
    max_deaths: Deaths = 5
    handler_timeout: Period = 30.0
    outbox_retention: Period = 24 * 3600.0
    inbox_retention: Period = 14 * 24 * 3600.0
    shutdown_timeout: Seconds = 25.0

    def __repr__(self) -> str:
        return f"EventsSettings(threads={self.threads}, batch={self.batch})"  # the broker's URL holds a password


class CacheSettings(_Room, frozen=True):
    """``TIMEOUT`` in seconds. ``JITTER`` is the share by which time-outs are shortened at random."""

    alias: str = "default"
    timeout: float = 300.0
    jitter: float = 0.1


class ApiSettings(_Room, frozen=True):
    """Limits of one request; ``IDEMPOTENCY_RETENTION`` in seconds.

    ``ADMIN``: whether Django's admin has pages. ``THREADS``: those of a web process that answer requests. ``MEMORY``:
    what a process may use, in MiB; 0: not known.
    """

    page_size: int = 20
    max_page_size: int = 100
    max_body_bytes: int = 1024 * 1024
    max_json_depth: int = 64
    threads: Count = 8
    memory: int = 0
    idempotency_retention: float = 24 * 3600.0
    admin: bool = False


class Settings(_Room, frozen=True):
    """The whole ``BANDSTAND`` setting: one field for each room."""

    service: str
    platform: str = "platform"
    version: str = "0.1.0"
    process: str = "web"
    log_format: Literal["json", "console"] = "json"
    context: ContextSettings = ContextSettings()
    health: HealthSettings = HealthSettings()
    identity: IdentitySettings = IdentitySettings()
    discovery: DiscoverySettings = DiscoverySettings()
    client: dict[str, Any] = {}  # the fields of bandstand.client.Policy, and TARGETS; checked by that room
    events: EventsSettings = EventsSettings()
    cache: CacheSettings = CacheSettings()
    api: ApiSettings = ApiSettings()


build_type(Settings)

_NAME: Final = "BANDSTAND"


@cache
def get_settings() -> Settings:
    """Return the ``BANDSTAND`` setting, checked.

    Raises:
        ConfigurationError: the setting is missing or wrong; the text names every key that is, and what to write.
    """
    value: Any = getattr(django_settings, _NAME, None)
    if value is None:
        raise ConfigurationError(
            "The setting BANDSTAND is missing. Write BANDSTAND = environment.bandstand() in settings.py."
        )
    try:
        return msgspec.convert(value, Settings, strict=False)
    except msgspec.ValidationError as error:
        found = list(faults(value, Settings, _NAME)) if isinstance(value, Mapping) else []
        raise ConfigurationError(found or f"The setting BANDSTAND is wrong: {error}") from error


def _forget(*, setting: str, **_: object) -> None:
    if setting == _NAME:
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="bandstand.conf")
