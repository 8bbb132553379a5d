"""Things that another service owns, as fields of one's own models.

- ``RemoteForeignKey("user-service", "users")`` stores the id of a thing and loads the thing when somebody asks for it:
  through the cache, many at once with ``prefetch_related()``, forgotten when an event of the owner says so.
- ``subscribe_to_owners()`` subscribes to those events; ``bandstand`` calls it once all models are known.

The room stands above ``client``, ``cache`` and ``events``, since it is made of all three.
"""

from bandstand.remote.fields import RemoteForeignKey
from bandstand.remote.owners import subscribe_to_owners

__all__ = ["RemoteForeignKey", "subscribe_to_owners"]
