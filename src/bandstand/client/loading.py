"""Many look-ups as few calls: how a resource is loaded by ids, and which answer belongs to which id. Pure."""

import math
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from bandstand.exceptions import ConfigurationError, ServiceResponseError

__all__ = ["Loading", "Resource"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Resource(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """How another service gives out many things at once: ``GET {path}?ids=1,2,3&page_size=3``.

    ``path`` is that of the list. ``ids`` names the parameter that takes ids, separated by commas; ``page_size`` the one
    that asks for all of them on one page (empty: there is none; further pages are read where the service makes some).
    ``key`` names the field that holds an item's id. ``size`` is the number of ids in one call at most. ``item`` is the
    type of an item (Struct, dataclass); without it items are dicts.

    Raises:
        ConfigurationError: a field makes no sense.
    """

    path: str
    ids: str = "ids"
    page_size: str = "page_size"
    key: str = "id"
    size: int = 100
    item: type[T] | Any = Any

    def __post_init__(self) -> None:
        faults = []
        if not self.path.startswith("/") or "?" in self.path:
            faults.append(f"path is {self.path!r}; write the path of a list, as '/api/v1/products/'.")
        if not self.ids or not self.key:
            faults.append("ids and key are names; they can't be empty.")
        if not 1 <= self.size < math.inf:
            faults.append(f"size is {self.size!r}; write 1 or more.")
        if faults:
            raise ConfigurationError(faults)

    def path_of(self, one: object) -> str:
        """Return the path of the single thing with that id, which is a part of the path of the list."""
        inside = self.path.rstrip("/")
        return f"{inside}/{quote(str(one), safe='')}{self.path[len(inside) :]}"


class Loading(Generic[K, T]):
    """One look-up of many ids: ask for each of ``batches()``, give what comes to ``take()``, then read ``result()``.

    Raises:
        ValueError: an id has a comma, or none of the characters that an id needs.
    """

    def __init__(self, service: str, resource: Resource[T], ids: Iterable[K]) -> None:
        self._service = service
        self._resource = resource
        self._texts = {one: str(one) for one in ids}
        self._asked = set(self._texts.values())
        self._found: dict[str, T] = {}
        wrong = [text for text in self._texts.values() if not text or "," in text]
        if wrong:
            raise ValueError(f"{wrong[0]!r} can't be an id in a list of ids that are separated by commas.")

    def batches(self) -> Iterator[dict[str, str]]:
        """Yield the query of each call. Each id stands in one of them, once."""
        resource = self._resource
        texts = list(dict.fromkeys(self._texts.values()))
        for start in range(0, len(texts), resource.size):
            batch = texts[start : start + resource.size]
            query = {resource.ids: ",".join(batch)}
            if resource.page_size:
                query[resource.page_size] = str(len(batch))
            yield query

    def take(self, items: Iterable[T]) -> None:
        """Remember ``items``, which came in any order.

        Raises:
            ServiceResponseError: an item does not say its id, or is one that nobody asked for. A service that ignores
                the parameter gives out its first page, and what stands on others would seem not to exist.
        """
        key = self._resource.key
        for item in items:
            name = item.get(key) if isinstance(item, dict) else getattr(item, key, None)
            if name is None:
                text = f"{self._resource.path} of {self._service} gave an item without a field {key!r}."
                raise ServiceResponseError(text, service=self._service, status=200)
            if str(name) not in self._asked:
                text = (
                    f"{self._resource.path} of {self._service} ignores {self._resource.ids!r}: nobody asked for {name}."
                )
                raise ServiceResponseError(text, service=self._service, status=200)
            self._found[str(name)] = item

    def result(self) -> dict[K, T | None]:
        """Return each id with its item, or None for one that the service does not have, in the order of the ids."""
        return {one: self._found.get(text) for one, text in self._texts.items()}
