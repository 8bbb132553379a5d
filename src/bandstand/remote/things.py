"""The things of one kind that one service owns: asked for once, then kept, then forgotten when they change."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bandstand.cache import DistributedCache, invalidate_tag_now
from bandstand.client import Resource, ServiceClient
from bandstand.conf import get_settings
from bandstand.exceptions import ServiceResponseError
from bandstand.structs import build_type

__all__ = ["Things"]

_NOT_FOUND: Final = 404
_LEEWAY: Final = 60.0  # seconds: more than the clocks of two machines differ, and than a loading takes


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
        self._listed = DistributedCache(f"{self.tag}:listed")  # a list may show less of a thing than its own page
        self._timeout = timeout
        self._stale = stale

    def one(self, name: str) -> Any:
        """Return the thing of that id, or None if there is none.

        Raises:
            ServiceCallError, DeadlineExceeded: the service could not be asked, and nothing that holds is kept.
        """
        raw = self._cache.get_or_set(
            name, lambda: self._ask(name), self._timeout, tags=self._tags(name), stale=self._stale
        )
        return None if raw is None else self._converted(raw)

    def many(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the things of those ids that exist, as the list has them; those that are not kept with one call.

        Raises:
            ServiceCallError, DeadlineExceeded: the service could not be asked, and not all is kept that still holds.
        """
        raws = self._listed.get_or_set_many(names, self._ask_for_all, self._timeout, tags=self._tags, stale=self._stale)
        return {name: self._converted(raw) for name, raw in raws.items() if raw is not None}

    def forget(self, name: str = "") -> None:
        """Forget the thing of that id, or all of them, at once: its owner's transaction is over.

        Raises:
            CacheUnavailable: it was not done, since Redis is away.
        """
        invalidate_tag_now(self._tag_of(name) if name else self.tag)

    def lasts(self) -> float:
        """Return how many seconds after a change at the latest nothing from before it is kept any more."""
        timeout = get_settings().cache.timeout if self._timeout is None else self._timeout
        return timeout + self._stale + _LEEWAY

    def _ask(self, name: str) -> Any:
        try:
            raw = self._client.get(self.resource.path_of(name)).json()
        except ServiceResponseError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        self._converted(raw)  # what can't be used must not be kept
        return raw

    def _ask_for_all(self, names: list[str]) -> dict[str, Any]:
        found = self._client.load(self._raw, names)
        for raw in found.values():
            if raw is not None:
                self._converted(raw)
        return found

    def _tags(self, name: str) -> tuple[str, str]:
        return self.tag, self._tag_of(name)

    def _tag_of(self, name: str) -> str:
        return f"{self.tag}:{name}"

    def _converted(self, raw: Any) -> Any:
        build_type(self.resource.item)
        try:
            return msgspec.convert(raw, self.resource.item)
        except msgspec.ValidationError as error:
            text = f"{self.service} gave a thing of {self.resource.path} that can't be used: {error}."
            raise ServiceResponseError(text, service=self.service, status=200) from error


def _path(name: str) -> str:
    return name if name.startswith("/") else f"/api/v1/{name}/"
