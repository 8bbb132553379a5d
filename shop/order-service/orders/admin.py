"""What staff sees of orders: they change by their buyers and by events, never by hand."""

from bandstand.api import LookOnly
from django.contrib import admin

from orders.models import Order, OrderItem


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
