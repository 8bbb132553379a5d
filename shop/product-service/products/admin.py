"""What staff sees of the catalogue and of what is held."""

from typing import Any

from bandstand.api import LookOnly
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from products.models import CustomerHolding, Product, Reservation, ReservedItem


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products. The stock is changed through the API, where a change never overwrites that of an order."""

    list_display = ("name", "sku", "price", "currency", "inventory_count", "is_featured")
    list_filter = ("is_featured",)
    search_fields = ("name", "sku", "description")
    readonly_fields = ("id", "currency", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else (*self.readonly_fields, "inventory_count")

    def save_model(self, request: HttpRequest, obj: Product, form: ModelForm, change: bool) -> None:
        """Write only what was changed: a whole row would put back the stock as it was when the form was read."""
        changes: dict[str, Any] = {"update_fields": [*form.changed_data, "updated_at"]} if change else {}
        obj.save(**changes)


class ReservedItemInline(LookOnly, admin.TabularInline):
    """What an order holds."""

    model = ReservedItem
    extra = 0


@admin.register(Reservation)
class ReservationAdmin(LookOnly, admin.ModelAdmin):
    """Reservations, to look at: they change by events alone."""

    list_display = ("order_id", "customer_id", "state", "reason", "created_at", "updated_at")
    list_filter = ("state",)
    search_fields = ("=order_id", "=customer_id")
    inlines = (ReservedItemInline,)


@admin.register(CustomerHolding)
class CustomerHoldingAdmin(LookOnly, admin.ModelAdmin):
    """Customers' holdings of products, read-only."""

    list_display = ("customer_id", "product", "pieces", "since")
    list_select_related = ("product",)
    search_fields = ("=customer_id", "product__sku")
