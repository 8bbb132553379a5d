"""What the first request that caches something would wait for."""

from django.core.cache import caches

from bandstand.conf import get_settings

__all__ = ["warm_up"]


def warm_up() -> None:
    """Read from the cache of the settings once, for which its driver is loaded and a connection made."""
    caches[get_settings().cache.alias].get("bandstand-warm-up")
