"""What staff sees of orders: they change by their buyers and by events, never by hand."""

from django.contrib import admin
from django.http import HttpRequest

from orders.models import Order, OrderItem


class LookOnly:
    """An admin without any change."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


class OrderItemInline(LookOnly, admin.TabularInline):
    """What was bought."""

    model = OrderItem
    extra = 0


@admin.register(Order)
class OrderAdmin(LookOnly, admin.ModelAdmin):
    """Orders, newest first."""

    list_display = ("id", "user_email", "status", "total_amount", "currency", "created_at")
    list_filter = ("status",)
    search_fields = ("=id", "=user_id", "user_email")
    date_hierarchy = "created_at"
    inlines = (OrderItemInline,)
