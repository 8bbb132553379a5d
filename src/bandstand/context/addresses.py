"""The address of a client: the peer's, unless the peer is a proxy that is trusted to name another."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from django.http import HttpRequest

from bandstand.conf import get_settings

__all__ = ["client_ip", "client_network"]

_MAX_HOPS: Final = 32
_MAX_ADDRESS: Final = 64  # characters, with brackets and port
_UNKNOWN: Final = "unknown"
# Bits. A provider gives each customer at least this network (RFC 6177), so who has one address in it has all of them.
_CUSTOMER_PREFIX: Final = 64


def client_ip(request: HttpRequest) -> str:
    """Return the address of the client as text, or ``"unknown"`` where the server names no peer (a Unix socket).

    ``X-Forwarded-For`` is read from the right, one hop for each proxy in ``BANDSTAND["CONTEXT"]["TRUSTED_PROXIES"]``:
    the first address that is not a trusted proxy is the client, whatever stands to the left of it.
    """
    address = _client(request)
    return _UNKNOWN if address is None else str(address)


def client_network(request: HttpRequest) -> str:
    """Return the network that a limit counts a client by: an IPv4 address, or the /64 network of an IPv6 address.

    One customer of a provider has 2**64 IPv6 addresses, so a limit for each address would be none. An IPv4 address
    that is mapped into IPv6 (``::ffff:192.0.2.1``) is the IPv4 address.
    """
    address = _client(request)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _CUSTOMER_PREFIX), strict=False))
    return _UNKNOWN if address is None else str(address)


def _client(request: HttpRequest) -> IPv4Address | IPv6Address | None:
    address = _parse(request.META.get("REMOTE_ADDR", ""))
    trusted = get_settings().context.trusted_proxies
    if address is None or not _is_trusted(address, trusted):
        return address
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")[-_MAX_HOPS:]):
        behind = _parse(hop)
        if behind is None:
            break  # what a trusted proxy did not write can't be believed, nor what stands before it
        address = behind
        if not _is_trusted(address, trusted):
            break
    return address


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    return _parse_short(text) if len(text) <= _MAX_ADDRESS and "%" not in text else None


@lru_cache(maxsize=4096)
def _parse_short(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with a port or not; an IPv4 address in IPv6 clothes is the IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


@lru_cache(maxsize=4096)
def _is_trusted(address: IPv4Address | IPv6Address, trusted: tuple[str, ...]) -> bool:
    return any(address in network for network in _networks(trusted))


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in trusted)
