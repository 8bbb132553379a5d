"""What was sent to whom, and why."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models


class Notification(models.Model):
    """One message to one person. ``event_id`` says why: there is one notification for each event and kind."""

    class Kind(models.TextChoices):
        """What it is about."""

        WELCOME = "welcome"
        ORDER_CONFIRMED = "order_confirmed"
        ORDER_REJECTED = "order_rejected"
        ORDER_CANCELLED = "order_cancelled"

    class Status(models.TextChoices):
        """``queued`` until the mail server took it."""

        QUEUED = "queued"
        SENT = "sent"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_id = models.UUIDField()
    kind = models.CharField(max_length=32, choices=Kind.choices)
    recipient = models.EmailField()
    subject = models.CharField(max_length=200)
    body = models.TextField()
    event_id = models.UUIDField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event_id", "kind"], name="notification_once_for_an_event")
        ]
        indexes: ClassVar = [models.Index(fields=["user_id", "-created_at", "-id"], name="notification_of_user")]

    def __str__(self) -> str:
        return f"{self.kind} to {self.recipient}"
