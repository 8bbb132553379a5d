"""The tables. Rows are data: what is stored are the events themselves, as they travel."""

from typing import Any, ClassVar

from django.core.checks import CheckMessage
from django.db import models
from django.db.models import Q

from bandstand.events import tables

__all__ = ["DeadLetter", "Delivery", "HistoryEntry", "InboxMessage", "OutboxMessage"]


class OutboxMessage(models.Model):
    """An event that a transaction of this service published.

    It waits for the relay while ``sent_at`` is empty. ``held_until`` in the future means that nobody else may touch
    it or a younger event of its key: a relay is sending it (then this is its lease), or it could not be sent (then
    this is when it is tried again).
    """

    id = models.BigAutoField(primary_key=True)
    message_id = models.CharField(max_length=36)
    type = models.CharField(max_length=100)
    key = models.CharField(max_length=200)
    correlation_id = models.CharField(max_length=64, db_default="")
    body = models.TextField()
    created_at = models.DateTimeField()
    held_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(db_default=0)
    error = models.TextField(db_default="")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = tables.OUTBOX
        # Not `unique=True`, with which PostgreSQL keeps a second index for LIKE, that each publish would pay for.
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["message_id"], name="bandstand_outbox_message")
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["id"], condition=Q(sent_at=None), name="bandstand_outbox_waiting"),
            models.Index(
                fields=["held_until", "key"],
                condition=Q(sent_at=None, held_until__isnull=False),
                name="bandstand_outbox_held",
            ),
            models.Index(fields=["sent_at"], condition=Q(sent_at__isnull=False), name="bandstand_outbox_sent"),
            # Rows that wait are found by the first index and looked through: so publishing does not pay for this one.
            models.Index(
                fields=["correlation_id"], condition=Q(sent_at__isnull=False), name="bandstand_outbox_correlated"
            ),
        ]
        verbose_name = "outbox message"

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}"

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        """Leave out the warning that MySQL makes these indexes of all rows: it is meant."""
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]


class InboxMessage(models.Model):
    """An event whose handler's transaction is committed; the row is a part of that transaction."""

    id = models.BigAutoField(primary_key=True)
    subscription = models.CharField(max_length=80)
    message_id = models.CharField(max_length=200)
    handled_at = models.DateTimeField()

    class Meta:
        db_table = tables.INBOX
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["subscription", "message_id"], name="bandstand_inbox_once")
        ]

    def __str__(self) -> str:
        return f"{self.subscription} {self.message_id}"


class _Undelivered(models.Model):
    """What a failed event has while it is retried and after that."""

    id = models.BigAutoField(primary_key=True)
    subscription = models.CharField(max_length=80)
    message_id = models.CharField(max_length=200)
    type = models.CharField(max_length=200)
    source = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    correlation_id = models.CharField(max_length=64, db_default="", db_index=True)
    attempts = models.PositiveIntegerField(default=0)
    deaths = models.PositiveIntegerField(default=0)
    error = models.TextField(default="")
    created_at = models.DateTimeField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.subscription} {self.type} {self.message_id}"


class Delivery(_Undelivered):
    """An event that this service took over from the broker, because its handler failed or must wait for its turn.

    ``attempts`` counts the handler's failures, ``deaths`` the processes that ended while they handled it.
    ``running`` says that a process holds it, until ``due_at``; otherwise ``due_at`` is when it is tried again. As
    long as it is here, younger events of its key wait behind it.
    """

    body = models.TextField()
    running = models.BooleanField(default=False)
    due_at = models.DateTimeField()

    class Meta:
        db_table = tables.DELIVERIES
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["subscription", "key", "id"], name="bandstand_delivery_order"),
            models.Index(fields=["due_at"], name="bandstand_delivery_due"),
        ]
        verbose_name_plural = "deliveries"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["subscription", "message_id"], name="bandstand_delivery_once")
        ]


class DeadLetter(_Undelivered):
    """An event that was given up, with the reason. It stays until somebody replays or drops it."""

    class Reason(models.TextChoices):
        """Why it was given up."""

        FAILED = "failed", "every attempt failed"
        INVALID = "invalid", "can't be read"
        DEATHS = "deaths", "ended its process again and again"

    body = models.BinaryField()
    reason = models.CharField(max_length=20, choices=Reason)
    died_at = models.DateTimeField()

    class Meta:
        db_table = tables.DEAD_LETTERS
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["died_at"], name="bandstand_dead_letter_died")]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["subscription", "message_id"], name="bandstand_dead_letter_once")
        ]


class HistoryEntry(models.Model):
    """What happened to an event besides that it was handled; one that is handled at once has no entry.

    ``number`` is the attempt's, as the handler saw it, ``text`` the end of the error, or the data from before an edit,
    ``by`` who mended.
    """

    class What(models.TextChoices):
        """What happened."""

        FAILED = "failed", "attempt failed"
        DIED = "died", "process ended"
        DEAD = "dead", "given up"
        REPLAYED = "replayed", "replayed"
        EDITED = "edited", "edited"
        DROPPED = "dropped", "dropped"

    id = models.BigAutoField(primary_key=True)
    subscription = models.CharField(max_length=80)
    message_id = models.CharField(max_length=200)
    what = models.CharField(max_length=20, choices=What)
    number = models.PositiveIntegerField(default=0)
    text = models.TextField(default="")
    by = models.CharField(max_length=150, default="")
    at = models.DateTimeField()

    class Meta:
        db_table = tables.HISTORY
        verbose_name_plural = "history"
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["message_id"], name="bandstand_history_message")]

    def __str__(self) -> str:
        return f"{self.subscription} {self.message_id} {self.what}"
