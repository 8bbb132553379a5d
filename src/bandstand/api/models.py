"""The tables of idempotency keys and of sign-ins that have ended."""

from typing import Any, ClassVar

from django.db import models

__all__ = ["EndedSignIn", "IdempotencyRecord"]


class IdempotencyRecord(models.Model):
    """One key that one caller used on one route, and the answer that it got.

    The row is written in the transaction of the effect, so a key is completed exactly when the effect is committed: a
    row in flight is never seen by others. What keeps others out meanwhile is the unique constraint, and on PostgreSQL
    a lock that they need not wait for.
    """

    class State(models.TextChoices):
        """In flight until the answer is stored."""

        IN_FLIGHT = "in_flight"
        COMPLETED = "completed"

    caller = models.CharField(max_length=255, help_text="Who used the key: user, service, or both.")
    route = models.CharField(max_length=255, help_text="Method and route.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Digest of method, path and body.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.IN_FLIGHT)
    status = models.PositiveSmallIntegerField(null=True)
    headers: "models.JSONField[dict[str, str], dict[str, str]]" = models.JSONField(default=dict)
    body = models.BinaryField(null=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=("caller", "route", "key"), name="bandstand_api_idempotency_key")
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.key} ({self.state})"


class EndedSignIn(models.Model):
    """A sign-in whose tokens are no longer accepted, kept until the last of them has expired."""

    sid = models.CharField(
        max_length=255, primary_key=True, help_text="The claim of that name in the tokens of the sign-in."
    )
    ended_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"Sign-in {self.sid}"
