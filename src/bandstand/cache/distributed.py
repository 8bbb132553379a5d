"""DistributedCache: values that all processes of a service share and one of them computes."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar, cast

import msgspec
from django.core.cache import caches

from bandstand.cache import values
from bandstand.cache.backend import ResilientRedisCache
from bandstand.cache.declared import DeclaredTypes
from bandstand.cache.flights import Flights
from bandstand.cache.leases import held, leases_of
from bandstand.cache.tags import current_versions, make_versions, now_and_on_commit, tag_key
from bandstand.conf import get_settings
from bandstand.context import bound

__all__ = ["DistributedCache"]

T = TypeVar("T")

_log: Final = logging.getLogger("bandstand.cache")
_MISSING: Final = object()
_ENTRY: Final = (3, 4)  # value, until when it is fresh, tags, and whether it holds instances of declared classes
_PATIENCE: Final = 10.0  # seconds to wait for another who computes, before computing oneself
_FIRST_PAUSE: Final = 0.005  # seconds between two looks for what the other computed, growing to
_LONGEST_PAUSE: Final = 0.05

_flights: Final = Flights()


class _Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How a value is kept: seconds that it holds, seconds that it may be served after them, and under which tags."""

    timeout: float | None
    stale: float
    tags: tuple[str, ...]


class DistributedCache:
    """A part of the service's cache: its keys begin with ``prefix``.

    Times are in seconds. A value gets old a little before its ``timeout``, each at a different moment: the first who
    asks then computes it anew while all others still get the value that holds. ``stale`` seconds after its timeout it
    may still be served while somebody computes, or when the computation fails.

    A value comes back as exactly what it was. Of enumerations, dataclasses, named tuples and structs only those in
    ``types``, and in the fields of these, can be kept.
    """

    def __init__(
        self,
        prefix: str,
        *,
        types: Iterable[type[Any]] | Callable[[], Iterable[type[Any]]] = (),
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """``types`` may be a function, called at the first use; ``clock`` gives the time of day in seconds, ``chance``
        a number from 0 to 1.
        """
        self._prefix = prefix
        self._types = types
        self._clock = clock
        self._chance = chance

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, None included, or ``default`` when there is none that holds."""
        value, _fresh = self._valid(self._cache.get(self._key(key)), None)
        return default if value is _MISSING else value

    def set(
        self, key: str, value: Any, timeout: float | None = None, *, tags: Iterable[str] = (), stale: float = 0.0
    ) -> None:
        """Keep a value for ``timeout`` seconds (``BANDSTAND["CACHE"]["TIMEOUT"]`` unless told), under ``tags``.

        Raises:
            TypeError: the value is not data.
        """
        terms = _Terms(timeout=timeout, stale=stale, tags=tuple(tags))
        versions = make_versions(self._cache, terms.tags, current_versions(self._cache, terms.tags))
        self._store(key, value, terms, versions)

    def delete(self, key: str) -> None:
        """Forget a value; inside a transaction now and again when it commits."""
        now_and_on_commit(lambda: self._cache.delete(self._key(key)))

    def get_or_set(
        self,
        key: str,
        compute: Callable[[], T],
        timeout: float | None = None,
        *,
        tags: Iterable[str] = (),
        stale: float = 0.0,
    ) -> T:
        """Return the value, or what ``compute()`` returns, kept for the next one who asks.

        However many ask at once, in however many processes: one computes, the others wait, or get the value that still
        holds. When the one is killed, another begins within 2 seconds. When Redis is away each process computes for
        itself, still once at a time.

        Raises:
            TypeError: what was computed is not data.
            Exception: whatever ``compute`` raised, unless a stale value may be served instead.
        """
        terms = _Terms(timeout=timeout, stale=stale, tags=tuple(tags))
        found, fresh, _ = self._look(key, terms.tags)
        if fresh:
            return found  # type: ignore[no-any-return]

        def work() -> T:
            return self._compute(key, compute, terms)

        if found is not _MISSING:
            return _flights.lead(self._key(key), work, otherwise=cast("T", found))
        return _flights.share(self._key(key), work, alone=compute, patience=_patience())

    def get_or_set_many(
        self,
        keys: Iterable[str],
        compute: Callable[[list[str]], Mapping[str, T]],
        timeout: float | None = None,
        *,
        tags: Callable[[str], Iterable[str]] = lambda _: (),
        stale: float = 0.0,
    ) -> dict[str, T]:
        """Return the value of each key. What is missing or old comes from one ``compute(keys)`` and is kept.

        For what costs the same for many as for one. ``tags(key)`` are those of one value. Unlike with
        :meth:`get_or_set` nobody waits for another who computes: of two who ask at once both do.

        Raises:
            KeyError: ``compute`` left a key out.
            TypeError: what was computed is not data.
            Exception: whatever ``compute`` raised, unless all that it was asked for may be served stale instead.
        """
        terms = {key: _Terms(timeout=timeout, stale=stale, tags=tuple(tags(key))) for key in keys}
        found, versions = self._look_at_all(terms)
        kept = {key: value for key, (value, _fresh) in found.items()}
        wanted = [key for key, (_value, fresh) in found.items() if not fresh]
        return kept | self._computed(wanted, compute, terms, versions, kept) if wanted else kept

    # --- one lookup ---------------------------------------------------------------------------------

    def _look(self, key: str, tags: tuple[str, ...]) -> tuple[Any, bool, dict[str, str]]:
        """Return the value or _MISSING, whether it is fresh, and the versions of the tags: one round trip."""
        name = self._key(key)
        if not tags:
            return *self._valid(self._cache.get(name), None), {}
        found = self._cache.get_many([name, *map(tag_key, tags)])
        versions = {tag: found[tag_key(tag)] for tag in tags if tag_key(tag) in found}
        return *self._valid(found.get(name), versions), versions

    def _look_at_all(self, terms: Mapping[str, _Terms]) -> tuple[dict[str, tuple[Any, bool]], dict[str, str]]:
        """Return the values of many keys in one round trip."""
        tags = dict.fromkeys(tag for one in terms.values() for tag in one.tags)
        stored = self._cache.get_many([*map(self._key, terms), *map(tag_key, tags)]) if terms else {}
        versions = {tag: stored[tag_key(tag)] for tag in tags if tag_key(tag) in stored}
        return {key: self._valid(stored.get(self._key(key)), versions) for key in terms}, versions

    def _valid(self, entry: Any, versions: dict[str, str] | None) -> tuple[Any, bool]:
        """Open what was stored. ``versions`` are those of its tags, if they are known."""
        if not isinstance(entry, tuple) or len(entry) not in _ENTRY:
            return _MISSING, False
        value, fresh_until, tags, *declared = entry
        if tags:
            unknown = [tag for tag in tags if tag not in (versions or {})]
            now = {**(versions or {}), **current_versions(self._cache, unknown)}
            if any(now.get(tag) != version for tag, version in tags.items()):
                return _MISSING, False
        if declared:
            try:
                value = self._declared.unpack(value)
            except (LookupError, TypeError, ValueError):
                return _MISSING, False  # of a release that has declared something else
        return value, self._clock() < fresh_until

    # --- one computation ----------------------------------------------------------------------------

    def _compute(self, key: str, compute: Callable[[], T], terms: _Terms) -> T:
        """Compute under a lease, or wait for the one who has it."""
        leases = leases_of(self._cache)
        end, pause = time.monotonic() + _patience(), _FIRST_PAUSE
        while True:
            with held(leases, self._key(f"lease:{key}")) as ours:
                # Looked up anew: between the look before and the lease another may have finished.
                found, fresh, versions = self._look(key, terms.tags)
                if fresh or (ours is False and found is not _MISSING):
                    return found  # type: ignore[no-any-return]
                if ours is not False or time.monotonic() > end:
                    return self._renewed(key, compute, terms, versions, found)
            time.sleep(pause * (0.5 + self._chance() / 2))
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    def _renewed(self, key: str, compute: Callable[[], T], terms: _Terms, versions: dict[str, str], old: Any) -> T:
        versions = make_versions(self._cache, terms.tags, versions)
        try:
            value = compute()
        except Exception:
            if old is _MISSING:
                raise
            _log.warning("A value could not be computed anew; the old one is served", extra={"key": key}, exc_info=True)
            return old  # type: ignore[no-any-return]
        self._store(key, value, terms, versions)
        return value

    def _computed(
        self,
        keys: list[str],
        compute: Callable[[list[str]], Mapping[str, T]],
        terms: Mapping[str, _Terms],
        versions: dict[str, str],
        old: Mapping[str, Any],
    ) -> dict[str, T]:
        tags = dict.fromkeys(tag for key in keys for tag in terms[key].tags)
        versions = make_versions(self._cache, tags, versions)
        try:
            found = compute(keys)
        except Exception:
            if any(old[key] is _MISSING for key in keys):
                raise
            _log.warning("Values could not be computed anew; the old ones are served", exc_info=True)
            return {}
        for key in keys:
            self._store(key, found[key], terms[key], versions)
        return {key: found[key] for key in keys}

    def _store(self, key: str, value: Any, terms: _Terms, versions: dict[str, str]) -> None:
        declared = bool(self._declared)
        if declared:
            value = self._declared.pack(value)
        if not isinstance(self._cache, ResilientRedisCache):
            values.pack(value)  # so that what Redis would refuse fails in tests, too
        if any(tag not in versions for tag in terms.tags):
            return  # the cache keeps nothing now
        settings = get_settings().cache
        seconds = settings.timeout if terms.timeout is None else terms.timeout
        early = settings.jitter * (0.5 + self._chance() / 2)
        fresh_until = self._clock() + seconds * (1 - early)
        entry: tuple[Any, ...] = (value, fresh_until, {tag: versions[tag] for tag in terms.tags})
        if declared:
            entry = (*entry, True)
        self._cache.set(self._key(key), entry, max(1, round(seconds + terms.stale)))

    @cached_property
    def _declared(self) -> DeclaredTypes:
        return DeclaredTypes(self._types() if callable(self._types) else self._types)

    @property
    def _cache(self) -> Any:
        return caches[get_settings().cache.alias]

    def _key(self, key: str) -> str:
        return f"{self._prefix}:{key}"


def _patience() -> float:
    context = bound()
    left = None if context is None else context.remaining()
    return _PATIENCE if left is None else min(_PATIENCE, left)
