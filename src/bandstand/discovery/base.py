"""What an instance and a registry are."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from bandstand.conf.settings import DiscoverySettings
from bandstand.exceptions import NoInstances, UnknownService

__all__ = ["Instance", "Registry", "base_url", "is_address"]


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One running copy of a service: ``url`` is scheme, host and port, without a slash at the end.

    ``version``, ``tags`` and ``metadata`` are what it said of itself, where the registry keeps such things.
    """

    id: str
    url: str
    healthy: bool = True
    version: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}

    def __hash__(self) -> int:
        return hash((self.id, self.url))


class Registry(ABC):
    """Names to instances. A backend says what it knows; what that means for a caller is decided here."""

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "Registry":
        """Build the registry that ``DISCOVERY_URL`` describes, for backends that are chosen by it.

        Raises:
            ConfigurationError: with one sentence for each part of the URL that is wrong.
        """
        raise NotImplementedError(f"{cls.__name__} is not chosen by a URL")

    @abstractmethod
    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        """Return the last good list, from memory: this is asked on every call and must not wait for anything."""

    def trouble(self) -> str:
        """Return why the list may be old, as one sentence, or nothing."""
        return ""

    def age(self) -> float:
        """Return how many seconds old that list is, or its oldest part, since there is trouble; from memory."""
        return 0.0

    def names(self) -> Collection[str]:
        """Return the names that are known, for the text of an error."""
        return self.services().keys()

    def look_up(self, service: str) -> tuple[Instance, ...] | None:
        """Return what is known of one service, healthy or not, or None if there is no such name; from memory."""
        return self.services().get(service)

    def instances(self, service: str) -> tuple[Instance, ...]:
        """Return the healthy instances of ``service``, at least one.

        Raises:
            UnknownService: the registry has no such name.
            NoInstances: it has the name, but nobody serves it now.
        """
        known = self.look_up(service)
        if known is None:
            raise UnknownService(_unknown(service, self.names(), self.trouble()))
        for instance in known:
            if not instance.healthy:
                known = tuple(each for each in known if each.healthy)
                break
        if not known:
            raise NoInstances(_sentences(f"No instance of {service} is ready now.", self.trouble()))
        return known


@lru_cache(maxsize=4096)
def is_address(url: str) -> bool:
    """Say whether the host of an instance's URL is an IP address and not a name."""
    try:
        ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    return True


def base_url(text: str) -> str:
    """Return ``text`` as the URL of an instance: scheme, host and port.

    Raises:
        ValueError: it is another kind of URL; the text says what is wrong.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{text!r} is not the URL of a service; write http://host:port")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} has more than scheme, host and port; write http://host:port")
    _ = parts.port  # raises ValueError when it is no port
    return f"{parts.scheme}://{parts.netloc}"


def _unknown(service: str, names: Collection[str], trouble: str) -> str:
    near = difflib.get_close_matches(service, names, n=1)
    known = ", ".join(sorted(names)) or "none"
    hint = f"Did you mean {near[0]}?" if near else f"Known are: {known}."
    return _sentences(f"No service is called {service!r}.", hint, trouble)


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)
