"""What the handler saw."""

from django.db import models


class Sighting(models.Model):
    """One run of the handler; nothing keeps the same event from coming twice."""

    event = models.CharField(max_length=36)

    class Meta:
        app_label = "witness"
        db_table = "witness"

    def __str__(self) -> str:
        return self.event
