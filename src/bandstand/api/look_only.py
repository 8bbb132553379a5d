"""An admin to look at what changes by requests and events alone."""

from typing import Any

from django.http import HttpRequest

__all__ = ["LookOnly"]


class LookOnly:
    """A mixin for ``ModelAdmin`` and inlines: who may view may look, nobody may add, change or delete.

    For rows whose changes are announced by events, or follow rules that a form does not know.
    """

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        """Say no."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        """Say no."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        """Say no."""
        return False
