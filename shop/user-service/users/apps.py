from importlib import import_module

from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "users"

    def ready(self) -> None:
        """Connect the signals."""
        import_module("users.signals")
