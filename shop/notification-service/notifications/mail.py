"""Sending a notification by Django's e-mail API."""

from __future__ import annotations

from email.utils import parseaddr
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from notifications.models import Notification


def send(notification_id: UUID) -> None:
    """Send a notification that was not sent yet, and note that it was. Call it in a transaction.

    Raises:
        OSError: the mail server can't be reached, or did not take the mail.
    """
    notification = Notification.objects.select_for_update().get(pk=notification_id)
    if notification.status == Notification.Status.SENT:
        return
    EmailMessage(
        subject=notification.subject,
        body=notification.body,
        to=[notification.recipient],
        headers={
            "Message-ID": message_id(notification),
            "Auto-Submitted": "auto-generated",  # RFC 3834: nobody's holiday notice need answer
        },
    ).send()
    notification.status = Notification.Status.SENT
    notification.sent_at = timezone.now()
    notification.save(update_fields=["status", "sent_at"])


def message_id(notification: Notification) -> str:
    """Return the Message-ID: made from the event, so that a mail that is sent again is the same mail."""
    _, sender = parseaddr(settings.DEFAULT_FROM_EMAIL)
    return f"<{notification.event_id}.{notification.kind}@{sender.rpartition('@')[2]}>"
