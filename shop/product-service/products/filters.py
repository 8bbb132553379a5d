"""What a list of products can be narrowed to."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django_filters import rest_framework as filters

from products.models import Product


class UUIDInFilter(filters.BaseInFilter, filters.UUIDFilter):
    """Ids, separated by commas."""


class TrueOrFalse(forms.Field):
    """``true`` or ``false``, in any case. Django's own takes anything else for "not asked", and so shows everything."""

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        if value.lower() not in {"true", "false"}:
            raise forms.ValidationError("Write true or false.", code="invalid")
        return bool(value.lower() == "true")


class TrueOrFalseFilter(filters.BooleanFilter):
    """A filter by :class:`TrueOrFalse`."""

    field_class = TrueOrFalse

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.TextInput, **kwargs)


class ProductFilter(filters.FilterSet):
    """Each parameter that can't be read is a fault of the request and never ignored."""

    min_price = filters.NumberFilter(field_name="price", lookup_expr="gte")
    max_price = filters.NumberFilter(field_name="price", lookup_expr="lte")
    is_featured = TrueOrFalseFilter()
    in_stock = TrueOrFalseFilter(method="only_in_stock")
    ids = UUIDInFilter(field_name="id", lookup_expr="in")

    class Meta:
        model = Product
        fields = ("is_featured",)

    def only_in_stock(self, queryset: QuerySet[Product], name: str, value: bool) -> QuerySet[Product]:
        return queryset.filter(inventory_count__gt=0) if value else queryset.filter(inventory_count=0)
