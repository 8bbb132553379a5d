"""Everything that has a name outside one process: settings, headers and environment variables.

``ServiceEnvironment.read(service)`` reads and checks a service's environment variables for its ``settings.py``;
``defaults`` holds apps, middleware and templates that every service has; ``get_settings()`` returns the ``BANDSTAND``
setting as one frozen object; ``wire`` holds the names of headers and variables, which the runner and the exporters
write and the services read.
"""

from bandstand.conf import defaults, wire
from bandstand.conf.environment import ServiceEnvironment
from bandstand.conf.settings import Settings, get_settings

__all__ = ["ServiceEnvironment", "Settings", "defaults", "get_settings", "wire"]
