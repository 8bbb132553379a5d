"""The cache backend for ``CACHES``."""

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from django.utils.functional import cached_property

from bandstand.cache.client import ResilientClient, shared_client

__all__ = ["ResilientRedisCache"]


class ResilientRedisCache(RedisCache):
    """Django's ``RedisCache`` with one client for each process, typed JSON, and no error when Redis is away.

    ::

        CACHES = {"default": {
            "BACKEND": "bandstand.cache.ResilientRedisCache",
            "LOCATION": "redis://user:password@host:6379/0",
            "KEY_PREFIX": "user-service",
            "OPTIONS": {"timeout": 0.05, "failures": 5, "pause": 2.0},
        }}

    ``timeout``: seconds for one operation. After ``failures`` in a row Redis is not asked for ``pause`` seconds; then
    one operation tries. Reads are misses meanwhile; writes are not done, and what they would have replaced is deleted
    when Redis is back.
    """

    @cached_property
    def _cache(self) -> ResilientClient:  # type: ignore[override] # the same methods, on connections of its own
        return shared_client(self.__dict__["_servers"], self.__dict__["_options"])

    @property
    def is_available(self) -> bool:
        """Whether Redis is asked at all now."""
        return self._cache.is_available

    def set_many(self, data: dict[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> list[str]:
        """Keep several values; return the keys of those that could not be kept."""
        if not data:
            return []
        names = {self.make_and_validate_key(key, version=version): key for key in data}
        values = {name: data[key] for name, key in names.items()}
        return [names[name] for name in self._cache.set_many(values, self.get_backend_timeout(timeout))]

    def clear(self) -> bool:  # type: ignore[override] # Django's own returns a bool, too
        """Delete the keys that begin with ``KEY_PREFIX``, and no other service's; say whether it was done."""
        escaped = "".join(f"\\{char}" if char in "*?[]\\" else char for char in self.key_prefix)
        return self._cache.clear(f"{escaped}:*")

    def acquire(self, key: str, token: str, seconds: float) -> bool | None:
        """Take a lease for ``seconds`` if nobody has it; None: it is not known, since Redis is away."""
        return self._cache.acquire(self.make_key(key), token, seconds)

    def renew(self, key: str, token: str, seconds: float) -> bool:
        """Prolong a lease; False: it is not ours any more."""
        return self._cache.renew(self.make_key(key), token, seconds)

    def release(self, key: str, token: str) -> bool:
        """Give a lease back; False: it was not ours any more."""
        return self._cache.release(self.make_key(key), token)
