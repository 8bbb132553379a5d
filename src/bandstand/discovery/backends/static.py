"""``static:user-service=http://10.0.0.1:8000,order-service=http://10.0.0.2:8000``: a list that never changes."""

from typing import Final

from bandstand.conf.settings import DiscoverySettings
from bandstand.discovery.backends.memory import MemoryRegistry
from bandstand.discovery.base import base_url
from bandstand.exceptions import ConfigurationError

__all__ = ["StaticRegistry"]

_SCHEME: Final = "static:"


class StaticRegistry(MemoryRegistry):
    """Reads the list from its URL. A name that stands in it several times has several instances.

    Raises:
        ConfigurationError: with one sentence for each part that is wrong.
    """

    def __init__(self, url: str) -> None:
        services: dict[str, list[str]] = {}
        faults: list[str] = []
        for part in filter(None, (part.strip() for part in url.removeprefix(_SCHEME).split(","))):
            name, _, address = (piece.strip() for piece in part.partition("="))
            try:
                if not name or not address:
                    raise ValueError(f"{part!r} is not of the form name=http://host:port")
                services.setdefault(name, []).append(base_url(address))
            except ValueError as error:
                faults.append(f"DISCOVERY_URL: {error}")
        if faults:
            raise ConfigurationError(faults)
        super().__init__(services)

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "StaticRegistry":
        return cls(settings.url)
