"""What a list of products can be narrowed to."""

from typing import Any

from django.db.models import F, QuerySet
from django_filters import rest_framework as filters
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request
from rest_framework.views import APIView

from products.models import Product


class UUIDInFilter(filters.BaseInFilter, filters.UUIDFilter):
    """Ids, separated by commas."""


class ProductFilter(filters.FilterSet):
    """Each parameter that can't be read is a fault of the request and never ignored."""

    min_price = filters.NumberFilter(field_name="price", lookup_expr="gte")
    max_price = filters.NumberFilter(field_name="price", lookup_expr="lte")
    is_featured = filters.BooleanFilter()
    in_stock = filters.BooleanFilter(method="only_in_stock")
    ids = UUIDInFilter(field_name="id", lookup_expr="in")

    class Meta:
        model = Product
        fields = ("is_featured",)

    def only_in_stock(self, queryset: QuerySet[Product], name: str, value: bool) -> QuerySet[Product]:
        return queryset.filter(inventory_count__gt=0) if value else queryset.filter(inventory_count=0)


class StableOrdering(OrderingFilter):
    """The ordering that is asked for, and the id after it: a page never repeats or skips what is equal."""

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> list[Any]:
        ordering = [*(super().get_ordering(request, queryset, view) or ())]
        return ordering if {"id", "-id"} & set(ordering) else [*ordering, F("id").asc()]
