"""Sending a notification by Django's e-mail API."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from notifications.models import Notification


def send(notification_id: UUID) -> None:
    """Send a notification that was not sent yet, and note that it was. Call it in a transaction.

    Raises:
        OSError, smtplib.SMTPException: the mail server did not take it.
    """
    notification = Notification.objects.select_for_update().get(pk=notification_id)
    if notification.status == Notification.Status.SENT:
        return
    EmailMessage(
        subject=notification.subject,
        body=notification.body,
        to=[notification.recipient],
        headers={"Message-ID": f"<{notification.event_id}.{notification.kind}@{_domain()}>"},
    ).send()
    notification.status = Notification.Status.SENT
    notification.sent_at = timezone.now()
    notification.save(update_fields=["status", "sent_at"])


def _domain() -> str:
    return settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
