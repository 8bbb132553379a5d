"""The commands of a cache on Redis, none of which ever raises because Redis is away."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Final, TypeVar

from bandstand.cache.connections import Link
from bandstand.cache.cutout import Cutout
from bandstand.cache.sealing import open_sealed, seal
from bandstand.context import counter, gauge

__all__ = ["ResilientClient", "shared_client"]

T = TypeVar("T")

_log: Final = logging.getLogger("bandstand.cache")
_operations: Final = counter(
    "bandstand_cache_operations_total",
    "Operations on the cache. Results: ok, hit, miss, tampered, failed (no answer in time), skipped (cut out).",
    ("operation", "result"),
)
_available: Final = gauge("bandstand_cache_available", "1 while the cache answers, 0 while it is cut out.")

FAILED: Final = object()
_MOST_OWED: Final = 10_000
_SCAN_COUNT: Final = 500
_SILENCE: Final = 60.0  # seconds

# Both are atomic: between two commands of a client the key might expire, or the lease go to somebody else.
_INCREMENT: Final = (
    "if redis.call('EXISTS',KEYS[1])==1 then return redis.call('INCRBY',KEYS[1],ARGV[1]) end return false"
)
_RENEW: Final = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end return 0"
_RELEASE: Final = "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0"


class ResilientClient:
    """What Django's ``RedisCacheClient`` does, for one process; Redis away is a miss, or a write that is not done.

    A write that failed leaves the old value behind. Its key is remembered and deleted as soon as Redis answers again,
    before anything else is asked, so that an outage does not bring back what was overwritten or deleted in it.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        timeout: float = 0.05,
        failures: int = 5,
        pause: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        """``timeout`` and ``pause`` are in seconds; ``options`` go to redis-py's connections."""
        self._link = Link(servers[0], timeout=timeout, **options)
        self._cutout = Cutout(limit=failures, pause=pause, clock=clock)
        self._clock = clock
        self._silent_until = 0.0
        self._owed: dict[str, None] = {}
        _available.set(1)

    @property
    def is_available(self) -> bool:
        """Whether Redis is asked at all now."""
        return not self._cutout.is_open

    # --- Django's operations ------------------------------------------------------------------------

    def get(self, key: str, default: Any) -> Any:
        """Return the value, or ``default``."""
        stored = self._ask("get", "GET", key)
        return default if stored is None or stored is FAILED else self._open("get", key, stored, default)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values that there are."""
        names = list(keys)
        stored = self._ask("get_many", "MGET", *names) if names else []
        if stored is FAILED:
            return {}
        missing = object()
        found = {
            key: self._open("get_many", key, data, missing)
            for key, data in zip(names, stored, strict=True)
            if data is not None
        }
        return {key: value for key, value in found.items() if value is not missing}

    def set(self, key: str, value: Any, timeout: float | None) -> None:
        """Keep a value for ``timeout`` seconds; 0 deletes it, None keeps it for ever."""
        sealed = seal(key, value)
        if timeout == 0:
            self.delete(key)
        elif self._ask("set", "SET", key, sealed, *_expiry(timeout)) is FAILED:
            self._owe([key])

    def set_many(self, data: Mapping[str, Any], timeout: float | None) -> list[str]:
        """Keep several values; return the keys of those that could not be kept."""
        commands = [["SET", key, seal(key, value), *_expiry(timeout)] for key, value in data.items()]
        if timeout == 0:
            self.delete_many(data)
            return []
        answers = self._try("set_many", lambda: self._link.ask_all(commands))
        if answers is FAILED:
            self._owe(data)
            return list(data)
        refused = [key for key, answer in zip(data, answers, strict=True) if isinstance(answer, Exception)]
        self._owe(refused)
        return refused

    def add(self, key: str, value: Any, timeout: float | None) -> bool:
        """Keep a value if there is none; say whether it was kept."""
        sealed = seal(key, value)
        if timeout == 0:
            return bool(self._ask("add", "EXISTS", key) == 0)
        return self._ask("add", "SET", key, sealed, "NX", *_expiry(timeout)) not in {None, FAILED}

    def touch(self, key: str, timeout: float | None) -> bool:
        """Keep a value for ``timeout`` seconds from now; say whether there is one."""
        command = ("PERSIST", key) if timeout is None else ("EXPIRE", key, timeout)
        return bool(self._ask("touch", *command) == 1)

    def delete(self, key: str) -> bool:
        """Delete a value; say whether there was one."""
        deleted = self._ask("delete", "UNLINK", key)
        if deleted is FAILED:
            self._owe([key])
        return bool(deleted == 1)

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete several values."""
        names = list(keys)
        if names and self._ask("delete_many", "UNLINK", *names) is FAILED:
            self._owe(names)

    def has_key(self, key: str) -> bool:
        """Say whether there is a value."""
        return bool(self._ask("has_key", "EXISTS", key) == 1)

    def incr(self, key: str, delta: int) -> int:
        """Add to a number and return the sum.

        Raises:
            ValueError: there is no number (as Django has it), or Redis is away.
        """
        total = self._ask("incr", "EVAL", _INCREMENT, 1, key, delta)
        if not isinstance(total, int):
            raise ValueError(f"Key {key!r} not found.")
        return total

    def clear(self, pattern: str) -> bool:
        """Delete every key that matches, in small steps; other services' keys in the same Redis stay."""
        cursor: Any = b"0"
        while True:
            answer = self._ask("clear", "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
            if answer is FAILED:
                return False
            cursor, keys = answer
            if keys and self._ask("clear", "UNLINK", *keys) is FAILED:
                return False
            if cursor == b"0":
                return True

    # --- leases: who may do something alone ---------------------------------------------------------

    def acquire(self, key: str, token: str, seconds: float) -> bool | None:
        """Take the lease if nobody has it; None: it is not known, since Redis is away."""
        answer = self._ask("acquire", "SET", key, token, "NX", "PX", int(seconds * 1000))
        return None if answer is FAILED else answer is not None

    def renew(self, key: str, token: str, seconds: float) -> bool:
        """Prolong the lease if it is still ours."""
        return bool(self._ask("renew", "EVAL", _RENEW, 1, key, token, int(seconds * 1000)) == 1)

    def release(self, key: str, token: str) -> bool:
        """Give the lease back if it is still ours."""
        return bool(self._ask("release", "EVAL", _RELEASE, 1, key, token) == 1)

    # --- one way to the server ----------------------------------------------------------------------

    def _ask(self, operation: str, *command: Any) -> Any:
        """Return the answer to one command, or FAILED."""
        return self._try(operation, lambda: self._link.ask(*command))

    def _try(self, operation: str, ask: Callable[[], Any]) -> Any:
        if not self._cutout.allows():
            _count(operation, "skipped")
            return FAILED
        try:
            if self._owed:
                self._settle()
            answer = ask()
        except self._link.refusals as error:
            _count(operation, "failed")
            self._refused(operation, error)
            return FAILED
        except self._link.errors as error:
            _count(operation, "failed")
            self._failed(error)
            return FAILED
        if self._cutout.succeeded():
            _available.set(1)
            _log.info("The cache at %s answers again", self._link.name)
        if operation not in _READS:
            _count(operation, "ok")
        elif answer is None:
            _count(operation, "miss")
        return answer

    def _refused(self, operation: str, error: Exception) -> None:
        """Redis is there but will not: no right to a key, no memory. Said once a minute; it happens at each request."""
        now = self._clock()
        if now >= self._silent_until:
            self._silent_until = now + _SILENCE
            _log.warning("The cache at %s refused %s: %s", self._link.name, operation, error)

    def _failed(self, error: Exception) -> None:
        if self._cutout.failed():
            _available.set(0)
            self._link.forget()
            _log.warning("The cache at %s is left alone for now: %s", self._link.name, error)

    def _open(self, operation: str, key: str, stored: bytes, default: Any) -> Any:
        try:
            value = open_sealed(key, stored)
        except ValueError:
            _count(operation, "tampered")
            _log.warning("A value in the cache was not written by this service; it is ignored", extra={"key": key})
            return default
        _count(operation, "hit")
        return value

    def _owe(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._owed[key] = None
        while len(self._owed) > _MOST_OWED:
            self._owed.pop(next(iter(self._owed)), None)

    def _settle(self) -> None:
        """Delete what could not be written; what Redis will not delete stays as it is."""
        owed = list(self._owed)
        try:
            self._link.ask("UNLINK", *owed)
        except self._link.refusals as error:
            self._refused("delete", error)
        for key in owed:
            self._owed.pop(key, None)


_READS: Final = frozenset({"get", "get_many"})
_children: Final[dict[tuple[str, str], Any]] = {}


def _count(operation: str, result: str) -> None:
    count = _children.get((operation, result))
    if count is None:
        count = _children[operation, result] = _operations.labels(operation, result).inc
    count()


def _expiry(timeout: float | None) -> tuple[Any, ...]:
    return () if timeout is None else ("EX", timeout)


_clients: Final[dict[str, ResilientClient]] = {}
_clients_lock: Final = Lock()


def shared_client(servers: Sequence[str], options: Mapping[str, Any]) -> ResilientClient:
    """Return this process's client for the servers: Django makes a cache object for each thread."""
    name = repr((list(servers), sorted(options.items())))
    client = _clients.get(name)
    if client is None:
        with _clients_lock:
            client = _clients.get(name)
            if client is None:
                client = _clients[name] = ResilientClient(servers, **options)
    return client
