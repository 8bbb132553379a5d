"""The one place that wires the service rooms together: what two siblings need of each other is passed in here."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from django.apps import AppConfig

from bandstand import cache, client, events, health, remote
from bandstand.client import ServiceClient, configured_policies
from bandstand.client import checks as client_checks
from bandstand.conf import get_settings
from bandstand.context import application_loaded
from bandstand.context import checks as context_checks
from bandstand.discovery import checks as discovery_checks
from bandstand.discovery import instances
from bandstand.discovery.health import check_registry
from bandstand.discovery.registration import begin_registration, prepare_registration
from bandstand.exceptions import ConfigurationError, KeySetUnavailable, ServiceCallError
from bandstand.identity import checks as identity_checks
from bandstand.identity import load_keys, prefetch_user_keys, set_key_fetcher

__all__ = ["BandstandConfig", "fetch_keys", "prefetch_keys"]

_KEYS_TIMEOUT: Final = 3.0  # seconds


class BandstandConfig(AppConfig):
    """Add ``"bandstand"`` to ``INSTALLED_APPS``; the rooms with tables are apps of their own."""

    name = "bandstand"
    verbose_name = "Bandstand"

    def ready(self) -> None:
        """Wire the rooms. A process with wrong limits or keys ends here, whatever server loads it."""
        from bandstand.identity import schema  # noqa: F401, PLC0415 - registers itself; REST framework needs ready apps

        context_checks.register_checks()
        identity_checks.register_checks()
        discovery_checks.register_checks()
        health.register("discovery", check_registry, ready=False)
        client_checks.register_checks()
        configured_policies()
        load_keys()
        set_key_fetcher(fetch_keys)
        events.register_checks()
        events.autodiscover()
        remote.subscribe_to_owners()
        application_loaded.connect(begin_registration, dispatch_uid="bandstand.discovery")
        prepare_registration()
        health.drain_on_sigterm()
        health.before_ready("cache", cache.warm_up)
        health.before_ready("client", client.warm_up)
        health.before_ready("user keys", prefetch_keys)


def fetch_keys(url: str) -> bytes:
    """Return the bytes of a key set; the host of ``url`` is the name of a service, found through discovery.

    Verifying a token is a plain function, also for coroutines. So the rare fetch, at most one in ten seconds, may stop
    an event loop for as long as the service takes to answer, at most three seconds.

    Raises:
        ConfigurationError: the URL names no service.
        KeySetUnavailable: the service could not be asked.
    """
    parts = urlsplit(url)
    if not parts.hostname or "." in parts.hostname:
        raise ConfigurationError(
            f"{url} does not name a service; write http://user-service/.well-known/jwks.json or file:///path/of/jwks.json."
        )
    fetch = partial(_fetch, parts.hostname, parts.path or "/")
    if not _in_event_loop():
        return fetch()
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(fetch).result()


def prefetch_keys() -> None:
    """Fetch the keys of user tokens from their issuer, if that is there already: services start in any order.

    Raises:
        DiscoveryError: nobody serves them yet.
        KeySetUnavailable: the issuer could not be asked.
    """
    identity = get_settings().identity
    issuer = urlsplit(identity.user_jwks_url).hostname
    if issuer and not identity.user_key_file:  # else it is this service
        instances(issuer)
        prefetch_user_keys()


def _fetch(service: str, path: str) -> bytes:
    try:
        # A key set is public, so nobody need be on a list of callers in order to read it.
        return ServiceClient(service).get(path, anonymous=True, timeout=_KEYS_TIMEOUT).content
    except ServiceCallError as error:
        raise KeySetUnavailable(f"{path} of {service} could not be fetched: {error}") from error


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
