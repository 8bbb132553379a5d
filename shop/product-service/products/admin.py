"""What staff sees of the catalogue and of what is held."""

from django.contrib import admin
from django.http import HttpRequest

from products.models import Product, Reservation, ReservedItem


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products. The stock is changed through the API, where a change never overwrites that of an order."""

    list_display = ("name", "sku", "price", "currency", "inventory_count", "is_featured")
    list_filter = ("is_featured",)
    search_fields = ("name", "sku", "description")
    readonly_fields = ("id", "currency", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        return self.readonly_fields if obj is None else (*self.readonly_fields, "inventory_count")


class ReservedItemInline(admin.TabularInline):
    """What an order holds."""

    model = ReservedItem
    extra = 0
    can_delete = False
    readonly_fields = ("product", "quantity")

    def has_add_permission(self, request: HttpRequest, obj: Reservation | None = None) -> bool:
        return False


@admin.register(Reservation)
class ReservationAdmin(admin.ModelAdmin):
    """Reservations, to look at: they change by events alone."""

    list_display = ("order_id", "state", "created_at", "updated_at")
    list_filter = ("state",)
    search_fields = ("order_id",)
    inlines = (ReservedItemInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Reservation | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Reservation | None = None) -> bool:
        return False
