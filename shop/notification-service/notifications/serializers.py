"""What goes out as JSON."""

from rest_framework import serializers

from notifications.models import Notification


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """A notification as its recipient sees it."""

    class Meta:
        model = Notification
        fields = ("id", "kind", "recipient", "subject", "body", "status", "created_at", "sent_at")
        read_only_fields = fields
