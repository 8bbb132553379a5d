"""The walk through a list that comes in pages, by number or by cursor: what to ask next, and when to stop. Pure."""

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from bandstand.client.messages import Response
from bandstand.client.preparation import Options
from bandstand.exceptions import ServiceResponseError

__all__ = ["MAX_PAGES", "Page", "Walk"]

T = TypeVar("T")

MAX_PAGES: Final = 100
"""Pages that are read of one list unless told otherwise: whoever needs more says so."""


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list. ``count`` is that of the whole list, and None where pages go by cursor."""

    results: tuple[T, ...]
    count: int | None = None
    next: str | None = None
    previous: str | None = None


class Walk(Generic[T]):
    """One list from its first page to its last. Loop: for each of ``steps()`` make the request, ``take()`` the answer.

    Of a ``next`` only the query is used: the list is asked at the same path of the same service, whatever host the
    link names, so that no answer can send this service, with its tokens, somewhere else.
    """

    def __init__(self, path: str, item: Any, max_pages: int, options: Options) -> None:
        if max_pages < 1:
            raise ValueError(f"max_pages is {max_pages!r}; write 1 or more.")
        self._path = path.partition("?")[0]
        self._whole_path = path
        self._shape = Page[item] | tuple[item, ...]  # a list that has no pages is one page
        self._max_pages = max_pages
        self._options = options
        self._query: str | None = None
        self._asked: set[str] = set()
        self._last: Response | None = None

    def steps(self) -> Iterator[tuple[str, Options]]:
        """Yield path and options of each request, as long as the answers name a next page.

        Raises:
            ServiceResponseError: the list is longer than ``max_pages``.
        """
        yield self._whole_path, self._options
        taken = 1
        while self._query is not None:
            if taken == self._max_pages:
                raise self._refused(f"has more than {taken} pages; ask for less, or pass max_pages")
            taken += 1
            pairs = parse_qsl(self._query, keep_blank_values=True)
            yield self._path, cast("Options", {**self._options, "params": pairs})

    def take(self, answer: Response) -> Page[T]:
        """Return the page that ``answer`` holds.

        Raises:
            ServiceResponseError: it is no page, or its ``next`` leads to another list or back.
        """
        self._last = answer
        found: Any = answer.json(self._shape)  # type: ignore[arg-type] # a union, which `type[T]` can't say
        page: Page[T] = found if isinstance(found, Page) else Page(results=found)
        self._query = None if page.next is None else self._checked(page.next)
        return page

    def _checked(self, link: str) -> str:
        parts = urlsplit(link)
        if parts.path and unquote(parts.path) != unquote(self._path):
            raise self._refused(f"names {parts.path!r} as its next page, which is another list")
        if parts.query in self._asked:
            raise self._refused("names a page as its next that was read already")
        self._asked.add(parts.query)
        return parts.query

    def _refused(self, text: str) -> ServiceResponseError:
        assert self._last is not None
        service = self._last.service
        return ServiceResponseError(f"{self._path} of {service} {text}.", service=service, status=self._last.status)
