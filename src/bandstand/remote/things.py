"""The things of one kind that one service owns: asked for once, then kept, then forgotten when they change."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bandstand.cache import DistributedCache, invalidate_tag
from bandstand.client import Resource, ServiceClient
from bandstand.exceptions import ServiceResponseError

__all__ = ["Things"]

_NOT_FOUND: Final = 404


class Things:
    """What ``service`` gives out as ``resource``. Cheap to make; all that are alike share what is kept."""

    def __init__(self, service: str, resource: str | Resource[Any], *, timeout: float | None, stale: float) -> None:
        """``timeout`` and ``stale`` are seconds, as in :class:`bandstand.cache.DistributedCache`."""
        self.service = service
        self.resource = resource if isinstance(resource, Resource) else Resource(path=_path(resource))
        self.tag = f"remote:{service}:{self.resource.path}"
        self._client = ServiceClient(service)
        # Kept as they came: the cache holds data and no objects of ours.
        self._raw = msgspec.structs.replace(self.resource, item=Any)
        self._cache = DistributedCache(self.tag)
        self._timeout = timeout
        self._stale = stale

    def one(self, name: str) -> Any:
        """Return the thing of that id, or None if there is none.

        Raises:
            ServiceCallError, DeadlineExceeded: the service could not be asked, and nothing that holds is kept.
        """
        raw = self._cache.get_or_set(
            name, lambda: self._ask(name), self._timeout, tags=(self.tag, self._tag_of(name)), stale=self._stale
        )
        return None if raw is None else self._converted(raw)

    def many(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the things of those ids that exist, with one call, as they are now.

        Raises:
            ServiceCallError, DeadlineExceeded: the service could not be asked.
        """
        found = self._client.load(self._raw, names)
        return {name: self._converted(raw) for name, raw in found.items() if raw is not None}

    def forget(self, name: str = "") -> None:
        """Forget the thing of that id, or all of them; in a transaction now and again when it commits."""
        invalidate_tag(self._tag_of(name) if name else self.tag)

    def _ask(self, name: str) -> Any:
        try:
            return self._client.get(self.resource.path_of(name)).json()
        except ServiceResponseError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def _tag_of(self, name: str) -> str:
        return f"{self.tag}:{name}"

    def _converted(self, raw: Any) -> Any:
        try:
            return msgspec.convert(raw, self.resource.item)
        except msgspec.ValidationError as error:
            text = f"{self.service} gave a thing of {self.resource.path} that can't be used: {error}."
            raise ServiceResponseError(text, service=self.service, status=200) from error


def _path(name: str) -> str:
    return name if name.startswith("/") else f"/api/v1/{name}/"
