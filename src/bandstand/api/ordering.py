"""Lists in an order that is the same from page to page."""

from typing import Any

from django.db.models import QuerySet
from django.db.models.expressions import OrderBy
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request

__all__ = ["StableOrderingFilter"]


class StableOrderingFilter(OrderingFilter):
    """REST framework's ``OrderingFilter`` with the primary key behind the ordering that is asked for.

    Of rows that are equal in what they are ordered by, the database may return any first, and another one for the
    next page: pages repeat some and skip others. The key follows the direction of the last field, so that one index
    on both serves both directions.
    """

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> list[Any]:
        """Return what to order by; nothing where neither request nor view says so, and the model's own order stays."""
        ordering: list[Any] = list(super().get_ordering(request, queryset, view) or ())
        key = queryset.model._meta.pk.name  # noqa: SLF001 - Django's documented model API
        if not ordering or any(_name(term) in {key, "pk"} for term in ordering):
            return ordering
        return [*ordering, "-pk" if _is_descending(ordering[-1]) else "pk"]


def _name(term: Any) -> str:
    if isinstance(term, OrderBy):
        term = term.expression
    return str(getattr(term, "name", term)).lstrip("-")


def _is_descending(term: Any) -> bool:
    return term.descending if isinstance(term, OrderBy) else str(term).startswith("-")
