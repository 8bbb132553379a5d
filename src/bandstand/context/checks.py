"""Django system checks: requests are tracked from their beginning, and proxies are named sensibly."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name

from bandstand.conf import get_settings, wire

__all__ = ["check_context", "register_checks"]

# Networks that clients, too, have addresses in (RFC 1918, RFC 4193).
_PRIVATE: Final = frozenset(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_TRACKING: Final = "bandstand.context.RequestTrackingMiddleware"


def register_checks() -> None:
    """Register the room's checks with Django."""
    register(check_context, Tags.security)


def check_context(**_: Any) -> list[CheckMessage]:
    """Check the place of the middleware and the trusted proxies."""
    return [*_middleware(), *_proxies()]


def _middleware() -> Iterator[CheckMessage]:
    if _TRACKING not in django_settings.MIDDLEWARE:
        yield Warning(
            "Requests are not tracked: they have no correlation id, no deadline and no log line.",
            hint=f"Put {_TRACKING!r} first in MIDDLEWARE.",
            id="bandstand.context.W001",
        )
    elif django_settings.MIDDLEWARE[0] != _TRACKING:
        yield Warning(
            f"{django_settings.MIDDLEWARE[0]!r} stands before request tracking: what it refuses leaves no log line.",
            hint=f"Put {_TRACKING!r} first in MIDDLEWARE.",
            id="bandstand.context.W002",
        )


def _proxies() -> Iterator[CheckMessage]:
    for name in get_settings().context.trusted_proxies:
        try:
            network = ip_network(name, strict=False)
        except ValueError:
            yield Error(
                f"The trusted proxy {name!r} is neither an address nor a network.",
                hint=f"Write networks such as 10.20.0.7/32 into {wire.TRUSTED_PROXIES}.",
                id="bandstand.context.E001",
            )
            continue
        if network.prefixlen == 0:
            yield Warning(
                f"Everybody is a trusted proxy ({name}), so each client chooses the address that limits apply to.",
                hint=f"Name only the networks of your own proxies in {wire.TRUSTED_PROXIES}.",
                id="bandstand.context.W003",
            )
        elif network in _PRIVATE:
            yield Warning(
                f"All of {name} are trusted proxies, so a client with such an address chooses the one that limits "
                "apply to.",
                hint=f"Name only the addresses of your own gateway and proxies in {wire.TRUSTED_PROXIES}.",
                id="bandstand.context.W004",
            )
