"""Lists in pages: by number, and by cursor where a list is long or grows while it is read."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework import pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from bandstand.api.fields import is_integer
from bandstand.conf import get_settings

__all__ = ["CursorPagination", "PageNumberPagination"]


def _sized(paginator: Any, request: Request) -> bool:
    """Take the sizes of pages from the settings as they are now; return whether the request asks for one of its own."""
    limits = get_settings().api
    paginator.page_size, paginator.max_page_size = limits.page_size, limits.max_page_size
    return is_integer(request.query_params.get(paginator.page_size_query_param, ""))


class PageNumberPagination(pagination.PageNumberPagination):
    """``?page=2&page_size=50``: 20 a page, at most 100, as ``{count, next, previous, results}``.

    A page that does not exist, be its number too large or no number, is 404.
    """

    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int | None:
        """Return how many results a page holds."""
        return super().get_page_size(request) if _sized(self, request) else self.page_size

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

    Set ``ordering`` on a subclass or the view to fields that are unique together, such as ``("-created_at", "-id")``.
    A cursor that somebody made up is 404.
    """

    ordering = ("-created_at", "-id")
    page_size_query_param = "page_size"

    def get_page_size(self, request: Request) -> int | None:
        """Return how many results a page holds."""
        return super().get_page_size(request) if _sized(self, request) else self.page_size

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        """Return one page.

        Raises:
            NotFound: the cursor is not one that this list gave out.
        """
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, TypeError, OverflowError, ValidationError, DataError):
            raise NotFound(self.invalid_cursor_message) from None
