"""Lists in pages: by number, and by cursor where a list is long or grows while it is read."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework import pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from bandstand.api.keyset import Keyset, Position
from bandstand.conf import get_settings

__all__ = ["CursorPagination", "PageNumberPagination"]


def _limited(paginator: Any) -> None:
    """Take the sizes of pages from the settings as they are now."""
    limits = get_settings().api
    paginator.page_size, paginator.max_page_size = limits.page_size, limits.max_page_size


class PageNumberPagination(pagination.PageNumberPagination):
    """``?page=2&page_size=50``: 20 a page, at most 100, as ``{count, next, previous, results}``.

    A page that does not exist, be its number too large or no number, is 404.
    """

    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int | None:
        """Return how many results a page holds."""
        _limited(self)
        return super().get_page_size(request)


class CursorPagination(pagination.CursorPagination):
    """``?cursor=…``: stays right while rows are added, and costs the same on each page. No ``count``.

    Set ``ordering`` on a subclass or the view, such as ``("-created_at",)``: the primary key comes last by itself, so
    each row is on one page however many are equal in what they are ordered by. Rows without a value come as on
    PostgreSQL: last in ascending order, first in descending. A cursor that somebody made up is 404.
    """

    ordering: Any = ("-created_at", "-id")
    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int | None:
        """Return how many results a page holds."""
        _limited(self)
        return super().get_page_size(request)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """Return one page.

        Raises:
            NotFound: the cursor is not one that this list gave out.
        """
        self.request = request
        self.page_size = self.get_page_size(request)
        self.base_url = request.build_absolute_uri()
        self.ordering = self.get_ordering(request, queryset, view)
        self._keyset = Keyset.of(queryset, self.ordering)
        try:
            position = self._keyset.decode(request.query_params.get(self.cursor_query_param, ""))
            return self._page(queryset, position)
        except (ValueError, TypeError, OverflowError, ValidationError, DataError):
            raise NotFound(self.invalid_cursor_message) from None

    def _page(self, queryset: Any, position: Position | None) -> list[Any]:
        backwards = position is not None and position.backwards
        size = self.page_size or 0
        found = list(self._keyset.rows(queryset, position)[: size + 1])
        more, page = len(found) > size, found[:size]
        self.page = page[::-1] if backwards else page
        self.has_next = backwards or more
        self.has_previous = more if backwards else position is not None
        return self.page

    def get_next_link(self) -> str | None:
        """Return the address of the page behind this one, if there is one."""
        return self._link(self.page[-1], backwards=False) if self.has_next and self.page else None

    def get_previous_link(self) -> str | None:
        """Return the address of the page before this one, if there is one."""
        return self._link(self.page[0], backwards=True) if self.has_previous and self.page else None

    def _link(self, row: Any, *, backwards: bool) -> str:
        cursor = self._keyset.encode(row, backwards=backwards)
        return str(replace_query_param(self.base_url or "", self.cursor_query_param, cursor))
