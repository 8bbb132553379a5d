"""``cache_result``: functions whose results all processes share."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, ParamSpec, TypeVar

from bandstand.cache.distributed import DistributedCache
from bandstand.cache.keys import arguments, digest, name_of
from bandstand.context import bound

__all__ = ["CachedFunction", "cache_result"]

P = ParamSpec("P")
R = TypeVar("R")

Tags = Iterable[str] | Callable[..., Iterable[str]]


def cache_result(
    timeout: float | None = None,
    *,
    key_prefix: str | None = None,
    tags: Tags = (),
    per_user: bool = False,
    stale: float = 0.0,
) -> Callable[[Callable[P, R]], "CachedFunction[P, R]"]:
    """Keep what a function returns, None included, for ``timeout`` seconds, for all processes.

    ::

        @cache_result(timeout=60, tags=["product:{product_id}"])
        def price_of(product_id: str) -> Decimal: ...

        price_of.invalidate("42")      # this result
        invalidate_tag("product:42")   # everything that was kept under the tag

    ``key_prefix`` is the function's full name unless told: give one where functions move between modules. ``tags``
    may name arguments in braces, or be a function of the arguments. ``per_user`` keeps results apart by the verified
    user of the request. ``stale``: see :class:`DistributedCache`.

    Raises at the call:
        UnstableKey: an argument has no form that is the same in every process.
        TypeError: the result is not data.
    """

    def decorate(function: Callable[P, R]) -> "CachedFunction[P, R]":
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{name_of(function)} returns a coroutine or generator, which is no value to keep. "
                f"Cache the plain function that it calls."
            )
        return CachedFunction(function, timeout=timeout, prefix=key_prefix, tags=tags, per_user=per_user, stale=stale)

    return decorate


class CachedFunction(Generic[P, R]):
    """A function made by :func:`cache_result`; ``uncached`` is the function itself."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        timeout: float | None,
        prefix: str | None,
        tags: Tags,
        per_user: bool,
        stale: float,
    ) -> None:
        functools.update_wrapper(self, function)
        self.uncached: Final = function
        self._signature = inspect.signature(function)
        self._cache = DistributedCache(f"result:{prefix or name_of(function)}")
        self._timeout = timeout
        self._tags = tags if callable(tags) else tuple(tags)
        self._per_user = per_user
        self._stale = stale

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result, kept or computed."""
        named = arguments(self._signature, args, kwargs)
        return self._cache.get_or_set(
            self._key(named),
            lambda: self.uncached(*args, **kwargs),
            self._timeout,
            tags=self._tags_of(named, args, kwargs),
            stale=self._stale,
        )

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of this call (with ``per_user``: the user's own); in a transaction again on commit."""
        self._cache.delete(self._key(arguments(self._signature, args, kwargs)))

    def _key(self, named: dict[str, Any]) -> str:
        if not self._per_user:
            return digest(named)
        context = bound()
        return digest((context.user if context else None, named))

    def _tags_of(self, named: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
        if callable(self._tags):
            return tuple(self._tags(*args, **kwargs))
        return tuple(tag.format_map(named) if "{" in tag else tag for tag in self._tags)
