"""Lists in pages: by number, and by cursor where a list is long or grows while it is read."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework import pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from bandstand.api.fields import is_integer
from bandstand.api.keyset import Keyset, Position
from bandstand.conf import get_settings

__all__ = ["CursorPagination", "PageNumberPagination"]


def _sized(paginator: Any, request: Request) -> bool:
    """Set the sizes of pages from the current settings; return whether the request has a valid page size of its own."""
    limits = get_settings().api
    paginator.page_size, paginator.max_page_size = limits.page_size, limits.max_page_size
    return is_integer(request.query_params.get(paginator.page_size_query_param, ""))


def _page_schema(items: Any, *, counted: bool) -> dict[str, Any]:
    """Return the schema of a page of ``items``, in OpenAPI 3.1: REST framework's own is 3.0's."""
    link = {"type": ["string", "null"], "format": "uri", "example": None}
    count = {"count": {"type": "integer", "minimum": 0, "example": 1}} if counted else {}
    properties = {**count, "next": link, "previous": link, "results": items}
    return {"type": "object", "required": list(properties), "properties": properties}


def _with_bounds(parameters: list[dict[str, Any]], paginator: Any) -> list[dict[str, Any]]:
    """Add the bounds of pages and their sizes to the parameters of an OpenAPI document."""
    limits = get_settings().api
    for parameter in parameters:
        if parameter["schema"].get("type") == "integer":
            parameter["schema"]["minimum"] = 1
        if parameter["name"] == paginator.page_size_query_param:
            parameter["schema"] |= {"maximum": limits.max_page_size, "default": limits.page_size}
    return parameters


class PageNumberPagination(pagination.PageNumberPagination):
    """``?page=2&page_size=50``: 20 a page, at most 100, as ``{count, next, previous, results}``.

    A page that does not exist, be its number too large or no number, is 404.
    """

    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int | None:
        """Return how many results a page holds."""
        return super().get_page_size(request) if _sized(self, request) else self.page_size

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """Return the OpenAPI schema of a page."""
        return _page_schema(schema, counted=True)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the OpenAPI parameters."""
        return _with_bounds(super().get_schema_operation_parameters(view), self)

    def get_page_number(self, request: Request, paginator: Any) -> Any:
        """Return the number of the page, or ``last``.

        Raises:
            NotFound: it is not written in ASCII digits.
        """
        number = super().get_page_number(request, paginator)
        if isinstance(number, str) and not is_integer(number):
            raise NotFound(self.invalid_page_message.format(page_number=number, message="That is no number."))
        return number


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
        return super().get_page_size(request) if _sized(self, request) else self.page_size

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """Return the OpenAPI schema of a page."""
        return _page_schema(schema, counted=False)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the OpenAPI parameters."""
        return _with_bounds(super().get_schema_operation_parameters(view), self)

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
