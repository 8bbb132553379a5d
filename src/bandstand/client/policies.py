"""The policy that the settings give to every client that has none of its own."""

from functools import lru_cache

from bandstand.conf import get_settings
from bandstand.conf.settings import ClientSettings
from bandstand.resilience import Policy

__all__ = ["configured_policy"]


def configured_policy() -> Policy:
    """Return ``BANDSTAND["CLIENT"]`` as a policy.

    Raises:
        ConfigurationError: with one sentence for each limit that makes no sense.
    """
    return _policy(get_settings().client)


@lru_cache(maxsize=8)
def _policy(settings: ClientSettings) -> Policy:
    return Policy(
        connect_timeout=settings.connect_timeout,
        timeout=settings.timeout,
        retries=settings.retries,
        max_response_bytes=settings.max_response_bytes,
    )
