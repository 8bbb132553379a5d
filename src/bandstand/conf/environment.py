"""What a service reads from its environment variables, with all faults reported at once."""

import logging
import os
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import dj_database_url
import django
import msgspec

from bandstand.conf import wire
from bandstand.conf.addresses import own_addresses
from bandstand.conf.secrets import read_secret_files
from bandstand.exceptions import ConfigurationError

__all__ = ["ServiceEnvironment"]

# As Django's own check security.W009 has it, which no web server runs.
_SECRET_LENGTH: Final = 50
_SECRET_VARIETY: Final = 5

# Readers and the one writer pass each other, and a writer waits for its turn at the start of its transaction.
_SQLITE: Final = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}

_HELP: Final = (
    "Start it with `bandstand up`, run one command with `bandstand exec SERVICE COMMAND…`,"
    " or set the variables yourself."
)


def _has_traceback(record: logging.LogRecord) -> bool:
    return bool(record.exc_info)


class ServiceEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """The environment of one service, checked; made by :meth:`read`.

    Attributes are ready to be assigned in ``settings.py``::

        environment = ServiceEnvironment.read("user-service")
        SECRET_KEY = environment.secret_key
        DATABASES = {"default": environment.database}
        CACHES = {"default": environment.cache}
        LOGGING = environment.logging
        globals().update(environment.email | environment.security)
        BANDSTAND = environment.bandstand(version="1.0.0")
    """

    service: str
    platform: str
    process: str
    secret_key: str
    secret_key_fallbacks: tuple[str, ...]
    debug: bool
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    database: dict[str, Any]
    cache: dict[str, Any]
    email: dict[str, Any]
    log_format: str
    log_level: str
    hsts_preload: bool
    rooms: dict[str, Any]

    @classmethod
    def read(cls, service: str, source: Mapping[str, str] | None = None) -> "ServiceEnvironment":
        """Read the variables of ``source`` (the process's own by default) for ``service``.

        Raises:
            ConfigurationError: with one sentence for every variable that is missing or wrong.
        """
        return _Reader(os.environ if source is None else source).environment(service)

    def __repr__(self) -> str:
        return f"ServiceEnvironment(service={self.service!r}, platform={self.platform!r}, debug={self.debug})"

    @property
    def logging(self) -> dict[str, Any]:
        """A ``LOGGING`` dictionary: one line on standard error for each record, JSON or for people."""
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"bandstand": {"()": f"bandstand.context.{self.log_format.capitalize()}Formatter"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "bandstand"}},
            "root": {"handlers": ["stderr"], "level": self.log_level},
            "filters": {"traceback": {"()": "django.utils.log.CallbackFilter", "callback": _has_traceback}},
            "loggers": {
                # Django's own handler would write each record a second time, as text of many lines.
                "django": {"handlers": []},
                "django.server": {"handlers": [], "propagate": False},
                # The request line of RequestTrackingMiddleware says all that this logger would, and more.
                # Only its tracebacks are news.
                "django.request": {"level": "ERROR", "filters": ["traceback"]},
            },
        }

    @property
    def security(self) -> dict[str, Any]:
        """Secret keys that are accepted while a new one is introduced, and Django's own protections.

        The latter as ``check --deploy`` asks for them: none while ``DEBUG`` is on.

        TLS ends at the gateway, which redirects to it and says so in ``X-Forwarded-Proto``. Services and probes speak
        plain HTTP to each other on the inner network, so a service must never redirect: that check is silenced. So is
        the one that wants HSTS preload, which browsers keep for months once a domain has asked for it: set
        ``BANDSTAND_HSTS_PRELOAD=true`` when every subdomain is on TLS for good.
        """
        fallbacks = {"SECRET_KEY_FALLBACKS": list(self.secret_key_fallbacks)}
        if self.debug:
            return fallbacks
        return fallbacks | {
            "CSRF_COOKIE_SECURE": True,
            "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
            "SECURE_HSTS_PRELOAD": self.hsts_preload,
            "SECURE_HSTS_SECONDS": 365 * 24 * 3600,
            "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
            "SESSION_COOKIE_SECURE": True,
            "SILENCED_SYSTEM_CHECKS": ["security.W008", "security.W021"],
        }

    def bandstand(self, **overrides: Any) -> dict[str, Any]:
        """Return the ``BANDSTAND`` setting; ``overrides`` are merged key by key (``client={"TIMEOUT": 2}``)."""
        value: dict[str, Any] = {
            "SERVICE": self.service,
            "PLATFORM": self.platform,
            "PROCESS": self.process,
            "LOG_FORMAT": self.log_format,
            **{room: dict(keys) for room, keys in self.rooms.items()},
        }
        for name, override in overrides.items():
            key = name.upper()
            value[key] = _merged(value.get(key), override)
        return value


def _merged(value: Any, override: Any) -> Any:
    if not (isinstance(value, Mapping) and isinstance(override, Mapping)):
        return override
    return {**value, **{key: _merged(value.get(key), inner) for key, inner in override.items()}}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _upper(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {name.upper(): value for name, value in keys.items()}


class _Reader:
    """Reads variables one by one and remembers every fault, so that all are told at once."""

    def __init__(self, source: Mapping[str, str]) -> None:
        self.source, self.faults = read_secret_files(source)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.source.get(name, "").strip()
        if value:
            return value
        if default is None:
            if not self.in_file(name):  # else the fault is the file's, and told
                self.faults.append(f"{name} is not set.")
            return ""
        return default

    def in_file(self, name: str) -> bool:
        return bool(self.source.get(f"{name}{wire.FILE_SUFFIX}"))

    def names(self, name: str, default: str | None = "") -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(name, default).split(",") if part.strip())

    def boolean(self, name: str, *, default: bool) -> bool:
        raw = self.text(name, "true" if default else "false").lower()
        if raw in {"1", "true", "yes", "on"}:
            return True
        if raw in {"0", "false", "no", "off"}:
            return False
        self.faults.append(f"{name} is {raw!r}; write true or false.")
        return default

    def number(self, name: str, default: int, *, least: int = 1) -> int:
        raw = self.text(name, str(default))
        if raw.isascii() and raw.isdigit() and int(raw) >= least:
            return int(raw)
        self.faults.append(f"{name} is {raw!r}; write a whole number of at least {least}.")
        return default

    def hosts(self, service: str, *, debug: bool) -> tuple[str, ...]:
        """Return the allowed hosts; the name of the service is what registries and other services call it by.

        Who scrapes metrics found an instance by DNS, and calls it by its address.
        """
        named = self.names(wire.ALLOWED_HOSTS, "localhost,127.0.0.1,[::1]" if debug else None)
        own = own_addresses() if wire.OWN_ADDRESS in named else ()
        return tuple(dict.fromkeys((*(name for name in named if name != wire.OWN_ADDRESS), *own, service)))

    def networks(self, name: str, default: str) -> tuple[str, ...]:
        networks = self.names(name, default)
        for network in networks:
            try:
                ip_network(network, strict=False)
            except ValueError:
                self.faults.append(f"{name} names {network!r}; write addresses or networks such as 10.0.0.0/8.")
        return networks

    def database(self) -> dict[str, Any]:
        url = self.text(wire.DATABASE_URL)
        pool_size = self.number(wire.DATABASE_POOL_SIZE, 8)
        if not url:
            return {}
        try:
            database: dict[str, Any] = dict(dj_database_url.parse(url, conn_health_checks=True))
        except ValueError as error:
            self.faults.append(f"{wire.DATABASE_URL} is not the URL of a database: {error}")
            return {}
        if database["ENGINE"] == "django.db.backends.postgresql":
            database["ENGINE"] = "bandstand.postgresql"
            database["CONN_HEALTH_CHECKS"] = False  # the pool checks a connection when it hands it out
            options = database.setdefault("OPTIONS", {})
            options.setdefault("pool", {"min_size": 1, "max_size": pool_size, "timeout": 5})
            options.setdefault("connect_timeout", 3)
        elif database["ENGINE"] == "django.db.backends.mysql":
            database["ENGINE"] = "bandstand.mysql"
        elif database["ENGINE"] == "django.db.backends.sqlite3":
            database["OPTIONS"] = {**_SQLITE, **database.get("OPTIONS", {})}
        return database

    def cache(self, service: str) -> dict[str, Any]:
        url = self.text(wire.CACHE_URL, "memory://")
        scheme = urlsplit(url).scheme
        if scheme == "memory":
            return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
        if scheme in {"redis", "rediss"}:
            # The service's user in Redis reaches no key that does not begin so.
            prefix = self.text(wire.SERVICE, service)
            return {"BACKEND": "bandstand.cache.ResilientRedisCache", "LOCATION": url, "KEY_PREFIX": prefix}
        self.faults.append(f"{wire.CACHE_URL} begins with {scheme!r}; write redis://, rediss:// or memory://.")
        return {}

    def email(self) -> dict[str, Any]:
        """``file:///folder`` writes mails to a folder, ``smtp://`` and ``smtps://`` send them."""
        url = urlsplit(self.text(wire.EMAIL_URL, "memory://"))
        backends = {"file": "filebased", "memory": "locmem", "smtp": "smtp", "smtps": "smtp", "console": "console"}
        if url.scheme not in backends:
            self.faults.append(
                f"{wire.EMAIL_URL} begins with {url.scheme!r}; write smtp://, smtps://, file:///folder, console:// or memory://."
            )
            return {}
        options: dict[str, Any] = {}
        if url.scheme == "file":
            options = {"file_path": unquote(url.path)}
        elif backends[url.scheme] == "smtp":
            options = {
                "host": url.hostname or "localhost",
                "port": url.port or (465 if url.scheme == "smtps" else 25),
                "username": unquote(url.username or ""),
                "password": unquote(url.password or ""),
                "use_ssl": url.scheme == "smtps",
                "timeout": 5,
            }
        return _mail_settings(f"django.core.mail.backends.{backends[url.scheme]}.EmailBackend", options)

    def rooms(self, *, debug: bool) -> dict[str, Any]:
        broker_url = self.text(wire.BROKER_URL, "memory://")
        if urlsplit(broker_url).scheme not in {"memory", "nats", "amqp", "amqps"}:
            self.faults.append(f"{wire.BROKER_URL} is {broker_url!r}; write nats://, amqp:// or memory://.")
        return {
            "CONTEXT": {"TRUSTED_PROXIES": self.networks(wire.TRUSTED_PROXIES, "127.0.0.0/8,::1/128")},
            "HEALTH": {"DRAIN": self.number(wire.DRAIN_SECONDS, 0, least=0)},
            "IDENTITY": {
                "SERVICE_KEY_FILE": self.text(wire.SERVICE_KEY_FILE, ""),
                "TRUSTED_KEYS_FILE": self.text(wire.TRUSTED_KEYS_FILE, ""),
                "ALLOWED_CALLERS": self.names(wire.ALLOWED_CALLERS),
                "USER_KEY_FILE": self.text(wire.USER_KEY_FILE, ""),
                "USER_JWKS_URL": self.text(wire.USER_JWKS_URL, ""),
            },
            "CLIENT": self.client_policies(),
            "DISCOVERY": {
                "URL": self.text(wire.DISCOVERY_URL, "static:"),
                "TOKEN": self.text(wire.DISCOVERY_TOKEN, ""),
                "REGISTER": self.choice(wire.REGISTER, "auto", ("auto", "never", "always")),
                "ADVERTISE": self.text(wire.ADVERTISE, ""),
                "TAGS": self.names(wire.TAGS),
            },
            "EVENTS": {"BROKER_URL": broker_url},
            "API": {
                "ADMIN": self.boolean(wire.ADMIN, default=debug),
                "THREADS": self.number(wire.THREADS, 8),
                "MEMORY": self.number(wire.MEMORY, 0, least=0),
            },
        }

    def client_policies(self) -> dict[str, Any]:
        """The limits of calls as the manifest has them; whether they make sense is told by the client room."""
        text = self.text(wire.CLIENT_POLICIES, "{}")
        try:
            policies = msgspec.json.decode(text, type=dict[str, Any])
            targets = msgspec.convert(policies.pop("targets", {}), dict[str, dict[str, Any]])
        except msgspec.MsgspecError as error:
            form = '{"timeout": 2, "targets": {"user-service": {"retries": 1}}}'
            self.faults.append(f"{wire.CLIENT_POLICIES} can't be read: {error}. Write JSON such as {form}.")
            return {}
        keys = _upper(policies)
        return {**keys, "TARGETS": {name: _upper(own) for name, own in targets.items()}} if targets else keys

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            self.faults.append(f"{name} is {value!r}; write one of {', '.join(allowed)}.")
            return default
        return value

    def refuse_development_secrets(self) -> None:
        """With DEBUG off, no secret that was made for development may be in use."""
        for name in (wire.SECRET_KEY, wire.DATABASE_URL, wire.CACHE_URL, wire.BROKER_URL):
            if wire.DEVELOPMENT_MARK in self.source.get(name, ""):
                self.faults.append(
                    f"{name} holds a secret made for development, but {wire.DEBUG} is off. Make a new one."
                )
        if "*" in self.names(wire.ALLOWED_HOSTS):
            self.faults.append(f"{wire.ALLOWED_HOSTS} is *, but {wire.DEBUG} is off. Name the hosts.")

    def refuse_what_only_tests_may_use(self) -> None:
        """With DEBUG off, a secret can't be guessed, and events reach the other services."""
        secrets = _lines(self.source.get(wire.SECRET_KEY, ""))
        if any(len(secret) < _SECRET_LENGTH or len(set(secret)) < _SECRET_VARIETY for secret in secrets):
            self.faults.append(
                f"{wire.SECRET_KEY} can be guessed. Make one of {_SECRET_LENGTH} random characters:"
                " python -c 'import secrets; print(secrets.token_urlsafe(50))'"
            )
        broker_url = self.text(wire.BROKER_URL, "memory://")
        if urlsplit(broker_url).scheme == "memory" and not self.in_file(wire.BROKER_URL):
            self.faults.append(
                f"{wire.BROKER_URL} is memory://, but {wire.DEBUG} is off: events would reach no other service."
                " Name the broker, as nats://user:password@host:4222."
            )

    def environment(self, service: str) -> "ServiceEnvironment":
        debug = self.boolean(wire.DEBUG, default=False)
        named = self.text(wire.SERVICE, service)
        if named != service:
            self.faults.append(f"{wire.SERVICE} is {named!r}, but these are the settings of {service!r}.")
        secret_key, *fallbacks = _lines(self.text(wire.SECRET_KEY)) or [""]
        environment = ServiceEnvironment(
            service=service,
            platform=self.text(wire.PLATFORM, "platform"),
            process=self.text(wire.PROCESS, "command"),
            secret_key=secret_key,
            secret_key_fallbacks=tuple(fallbacks),
            debug=debug,
            allowed_hosts=self.hosts(service, debug=debug),
            csrf_trusted_origins=self.names(wire.CSRF_TRUSTED_ORIGINS, ""),
            database=self.database(),
            cache=self.cache(service),
            email=self.email(),
            log_format=self.choice(wire.LOG_FORMAT, "json", ("json", "console")),
            log_level=self.choice(wire.LOG_LEVEL, "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
            hsts_preload=self.boolean(wire.HSTS_PRELOAD, default=False),
            rooms=self.rooms(debug=debug),
        )
        if not debug:
            self.refuse_development_secrets()
            if self.source.get(wire.TESTING) != "1":
                self.refuse_what_only_tests_may_use()
        if self.faults:
            raise ConfigurationError(
                [f"The environment of {service} has {len(self.faults)} fault(s):", *self.faults, _HELP]
            )
        return environment


# What Django called the options of a mail backend before it had MAILERS.
_EMAIL_SETTINGS: Final = {"username": "EMAIL_HOST_USER", "password": "EMAIL_HOST_PASSWORD"}


def _mail_settings(backend: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return ``MAILERS``, which Django has since 6.1 and which rules out the settings of before."""
    if django.VERSION >= (6, 1):
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
    before = {_EMAIL_SETTINGS.get(name, f"EMAIL_{name.upper()}"): value for name, value in options.items()}
    return {"EMAIL_BACKEND": backend, **before}
