"""What staff sees of notifications: they come from events, never by hand."""

from bandstand.api import LookOnly
from django.contrib import admin

from notifications.models import Notification


@admin.register(Notification)
class NotificationAdmin(LookOnly, admin.ModelAdmin):
    """Notifications, newest first."""

    list_display = ("kind", "recipient", "subject", "status", "created_at", "sent_at")
    list_filter = ("kind", "status")
    search_fields = ("recipient", "=user_id", "=event_id")
    date_hierarchy = "created_at"
