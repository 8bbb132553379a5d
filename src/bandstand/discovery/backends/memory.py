"""A registry that holds what it is told: for tests, and the ground of the static one."""

from collections.abc import Iterable, Mapping

from bandstand.discovery.base import Instance, Registry, base_url

__all__ = ["MemoryRegistry"]


class MemoryRegistry(Registry):
    """``MemoryRegistry({"user-service": ["http://127.0.0.1:8001"]})``; ids are made from name and place.

    Raises:
        ValueError: a URL is not scheme, host and port.
    """

    def __init__(self, services: Mapping[str, Iterable[str]] | None = None) -> None:
        self._services: dict[str, tuple[Instance, ...]] = {}
        for service, urls in (services or {}).items():
            self.set(service, urls)

    def set(self, service: str, urls: Iterable[str]) -> None:
        """Say which URLs serve ``service`` from now on; none of them means that it is known and away."""
        self._services[service] = tuple(
            Instance(id=f"{service}-{number}", url=base_url(url)) for number, url in enumerate(urls, start=1)
        )

    def services(self) -> Mapping[str, tuple[Instance, ...]]:
        return self._services
