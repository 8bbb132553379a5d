"""Django services that play together.

Import from the rooms: ``bandstand.context``, ``bandstand.health``, ``bandstand.identity``, ``bandstand.discovery``,
``bandstand.client``, ``bandstand.events``, ``bandstand.cache`` and ``bandstand.api``. Each room's page begins with a
map of what it offers. Errors are in ``bandstand.exceptions``, settings in ``bandstand.conf``.
"""

__version__ = "0.1.0"
