"""Django's cache on Redis that slows a service down at worst, and results that one process computes for all.

- ``ResilientRedisCache`` is the backend (``CACHES``): Redis away means misses, within 50 ms and then at once.
- ``cache_result(timeout=…, tags=…, per_user=…)`` keeps what a function returns; ``function.invalidate(…)`` forgets it.
- ``DistributedCache(prefix)`` does the same by hand: ``get``, ``set``, ``delete``, ``get_or_set``.
- ``warm_up()`` loads the driver and connects, so that no request waits for it.
- ``invalidate_tag(tag)`` forgets everything that was kept under a tag, in all processes; ``invalidate_tag_now(tag)``
  does it whatever transaction is open, and raises when it could not be done.

Values are data: None, numbers, texts, bytes, dates and times, Decimal, UUID, and tuples, lists, sets and dicts of such.
They come back as exactly what they were, or are refused. Enumerations, dataclasses, named tuples and structs are kept
where they are declared. Never pickle: what is found in Redis is never run, and never chooses a class.
"""

from bandstand.cache.backend import ResilientRedisCache
from bandstand.cache.decorator import CachedFunction, cache_result
from bandstand.cache.distributed import DistributedCache
from bandstand.cache.tags import invalidate_tag, invalidate_tag_now
from bandstand.cache.warming import warm_up

__all__ = [
    "CachedFunction",
    "DistributedCache",
    "ResilientRedisCache",
    "cache_result",
    "invalidate_tag",
    "invalidate_tag_now",
    "warm_up",
]
