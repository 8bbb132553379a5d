"""What staff sees of notifications: they come from events, never by hand."""

from django.contrib import admin
from django.http import HttpRequest

from notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    """Notifications, newest first."""

    list_display = ("kind", "recipient", "subject", "status", "created_at", "sent_at")
    list_filter = ("kind", "status")
    search_fields = ("recipient", "=user_id", "=event_id")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        return False
