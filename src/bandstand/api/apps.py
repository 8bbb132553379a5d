"""The Django app of this room: the table of idempotency keys and the check of permission policies."""

from django.apps import AppConfig

from bandstand.api import charsets, converters

__all__ = ["BandstandApiConfig"]


class BandstandApiConfig(AppConfig):
    """Add ``"bandstand.api"`` to ``INSTALLED_APPS``."""

    name = "bandstand.api"
    label = "bandstand_api"
    verbose_name = "Bandstand API"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the path converter, and look at charsets before Django does."""
        from bandstand.api import checks, memory  # noqa: F401, PLC0415 - REST framework may be imported only once apps are ready

        charsets.connect()
        converters.register()
