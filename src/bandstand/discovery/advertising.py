"""The address that others reach: what ``BANDSTAND_ADVERTISE`` says, and for the rest what the machine says."""

import logging
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

import msgspec

from bandstand.conf import wire
from bandstand.discovery.listening import Listener, reaching_address
from bandstand.exceptions import ConfigurationError

__all__ = ["Advertised", "advertised_host"]

logger: Final = logging.getLogger(__name__)


class Advertised(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in ``BANDSTAND_ADVERTISE``; what does not stand there is found out."""

    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> "Advertised":
        """Read ``host``, ``host:port``, ``:port`` or ``[address]:port``.

        Raises:
            ConfigurationError: it is none of them.
        """
        host, port = _split(text.strip())
        bare = not any(sign in host for sign in "/@?#[] ")
        if bare and (not port or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
            return cls(host=host, port=int(port or 0))
        raise ConfigurationError(
            f"{wire.ADVERTISE} is {text!r}; write host, host:port or :port as others reach this process: 10.0.0.7:8000."
        )


def advertised_host(
    listener: Listener, registry: tuple[str, int], reach: Callable[[str, int], str] = reaching_address
) -> str:
    """Return the address under which others reach ``listener``, or nothing where only the registry's agent knows it.

    That is the address it is bound to, if it is one. One that listens on all of them is reached under that of the
    interface by which the registry is reached, unless the registry runs on the same machine.

    Raises:
        OSError: there is no way to the registry.
    """
    if not listener.everywhere:
        if listener.loopback:
            logger.warning(
                "The server listens on %s only, so nobody on another machine reaches it. Let it listen on 0.0.0.0.",
                listener.host,
            )
        return listener.host
    address = reach(*registry)
    return "" if ip_address(address).is_loopback else address


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return (host, rest.removeprefix(":")) if not rest or rest.startswith(":") else (text, "")
    if text.count(":") > 1:
        return text, ""  # a bare IPv6 address
    host, _, port = text.partition(":")
    return host, port
