"""The one place that wires the service rooms together: what two siblings need of each other is passed in here."""

from django.apps import AppConfig

__all__ = ["BandstandConfig"]


class BandstandConfig(AppConfig):
    """Add ``"bandstand"`` to ``INSTALLED_APPS``; the rooms with tables are apps of their own."""

    name = "bandstand"
    verbose_name = "Bandstand"
