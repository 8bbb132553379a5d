"""Where a service is: names to instances, from memory.

- ``instances("user-service")`` returns what serves it now, as frozen ``Instance`` values; ``get_all_services()`` every
  name with its URLs.
- ``DISCOVERY_URL`` chooses the registry: ``static:name=url,…``, ``file:///path/registry.json``, ``consul://host:port``
  or ``dns://``. They are watched, and the last good list is kept while a registry is away or broken.
- A process that serves registers by itself where the registry takes registrations, which is Consul.
- ``Registry`` is what a further kind of registry implements (one method); ``MemoryRegistry`` is one for tests, put in
  place with ``use_registry(registry)``. ``active_registry()`` returns the one in use, and raises on a wrong URL.
- ``is_address(url)`` tells an instance that was found by address from one that was found by name.
"""

from bandstand.discovery.active import active_registry, get_all_services, instances, use_registry
from bandstand.discovery.backends.memory import MemoryRegistry
from bandstand.discovery.base import Instance, Registry, is_address

__all__ = [
    "Instance",
    "MemoryRegistry",
    "Registry",
    "active_registry",
    "get_all_services",
    "instances",
    "is_address",
    "use_registry",
]
