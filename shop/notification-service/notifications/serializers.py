"""What goes out as JSON."""

from typing import Any, ClassVar

from rest_framework import serializers

from notifications.models import Notification


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """A notification as its recipient sees it."""

    examples: ClassVar[dict[str, Any]] = {
        "recipient": "ada@example.com", "subject": "Your order is confirmed", "body": "Thank you for your order.",
    }  # fmt: skip

    class Meta:
        model = Notification
        fields = ("id", "kind", "recipient", "subject", "body", "status", "created_at", "sent_at")
        read_only_fields = fields
