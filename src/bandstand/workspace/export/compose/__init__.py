"""The platform on one machine with Docker Compose: ``render_compose``.

``apps`` holds the services' own containers, ``stores`` those of databases and brokers, ``gateways`` the one door, and
``hardening`` what every container has alike.
"""

from bandstand.workspace.export.compose.rendering import render_compose

__all__ = ["render_compose"]
