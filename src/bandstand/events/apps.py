"""The Django app: tables and commands."""

from django.apps import AppConfig

__all__ = ["EventsConfig"]


class EventsConfig(AppConfig):
    """Install as ``"bandstand.events"``."""

    name = "bandstand.events"
    label = "bandstand_events"
    verbose_name = "Events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from bandstand.events import checks  # noqa: F401, PLC0415 - registers itself, and needs the models
