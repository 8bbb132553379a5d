"""The registry of this process: chosen by DISCOVERY_URL, or put in place for a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from django.utils.module_loading import import_string

from bandstand.conf import get_settings
from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery.addresses import masked
from bandstand.discovery.base import Instance, Registry
from bandstand.exceptions import ConfigurationError

__all__ = ["active_registry", "get_all_services", "instances", "use_registry"]

_BACKENDS: Final = {
    "static": "bandstand.discovery.backends.static.StaticRegistry",
    "file": "bandstand.discovery.backends.file.FileRegistry",
    "consul": "bandstand.discovery.backends.consul.ConsulRegistry",
    "dns": "bandstand.discovery.backends.dns.DnsRegistry",
}

_in_place: Final[list[Registry]] = []


def instances(service: str) -> tuple[Instance, ...]:
    """Return the instances that serve ``service`` now, at least one, from memory.

    Raises:
        UnknownService: the registry has no such name; the text says which it has.
        NoInstances: it has the name, but nobody serves it now.
    """
    return active_registry().instances(service)


def get_all_services() -> dict[str, list[str]]:
    """Return every service's name with the URLs of its instances; a service that is away has none."""
    return {
        service: [instance.url for instance in known if instance.healthy]
        for service, known in active_registry().services().items()
    }


def active_registry() -> Registry:
    """Return the registry in use.

    Raises:
        ConfigurationError: DISCOVERY_URL names no kind of registry, or is wrong for its kind.
    """
    return _in_place[-1] if _in_place else _registry(get_settings().discovery)


@contextmanager
def use_registry(registry: Registry) -> Iterator[Registry]:
    """Put ``registry`` in place of the configured one for a ``with`` block, in all threads: for tests."""
    _in_place.append(registry)
    try:
        yield registry
    finally:
        _in_place.remove(registry)


@cache
def _registry(settings: DiscoverySettings) -> Registry:
    scheme = settings.url.partition(":")[0]
    if scheme not in _BACKENDS:
        kinds = ", ".join(f"{name}:…" for name in _BACKENDS)
        raise ConfigurationError(f"DISCOVERY_URL is {masked(settings.url)!r}; write one of {kinds}")
    try:
        backend: type[Registry] = import_string(_BACKENDS[scheme])
    except ImportError as error:
        raise ConfigurationError(
            f"DISCOVERY_URL begins with {scheme!r}, but its driver can't be imported ({error}). "
            f"Install it: pip install 'bandstand[{scheme}]'."
        ) from error
    return backend.from_settings(settings)
