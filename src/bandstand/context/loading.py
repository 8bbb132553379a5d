"""When a process begins to be a server."""

from typing import Final

from django.dispatch import Signal

__all__ = ["application_loaded"]

application_loaded: Final = Signal()
"""Sent when the middleware is loaded: by a server that takes up the WSGI or ASGI application, ``runserver`` too, and by
a test client; never by another management command."""
