"""``cache_result``: functions whose results all processes share."""

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, ParamSpec, TypeVar, get_type_hints

from django.conf import settings
from django.utils.translation import get_language

from bandstand.cache.declared import types_in
from bandstand.cache.distributed import DistributedCache
from bandstand.cache.keys import arguments, digest, name_of
from bandstand.cache.tags import forget_tag
from bandstand.context import bound

__all__ = ["CachedFunction", "cache_result"]

P = ParamSpec("P")
R = TypeVar("R")

_log: Final = logging.getLogger("bandstand.cache")

Tags = Iterable[str] | Callable[..., Iterable[str]]


def cache_result(
    timeout: float | None = None,
    *,
    key_prefix: str | None = None,
    tags: Tags = (),
    per_user: bool = False,
    per_language: bool = True,
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
    user of the request, ``per_language`` by the active language, so that no translated text is shown in another one;
    turn it off for results without text for people. ``stale``: see :class:`DistributedCache`.

    The result comes back as exactly what it was. Enumerations, dataclasses, named tuples and structs must stand in the
    function's return annotation.

    Raises at the call:
        UnstableKey: an argument has no form that is the same in every process.
        TypeError: the result is not data, or holds a class that the annotation does not name.
    """

    def decorate(function: Callable[P, R]) -> "CachedFunction[P, R]":
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(
                f"{name_of(function)} returns a coroutine or generator, which is no value to keep. "
                f"Cache the plain function that it calls."
            )
        return CachedFunction(
            function,
            timeout=timeout,
            prefix=key_prefix,
            tags=tags,
            per_user=per_user,
            per_language=per_language,
            stale=stale,
        )

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
        per_language: bool,
        stale: float,
    ) -> None:
        functools.update_wrapper(self, function)
        self.uncached: Final = function
        self._signature = inspect.signature(function)
        self._name = f"result:{prefix or name_of(function)}"
        self._cache = DistributedCache(self._name, types=self._returned)
        self._timeout = timeout
        self._tags = tags if callable(tags) else tuple(tags)
        self._per_user = per_user
        self._per_language = per_language
        self._stale = stale

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result, kept or computed."""
        named = arguments(self._signature, args, kwargs)
        key, tags = self._key(named), self._tags_of(named, args, kwargs)
        language = self._language()
        if language is not None:
            key, tags = f"{key}:{language}", (*tags, self._tag_of_translations(key))
        return self._cache.get_or_set(
            key, lambda: self.uncached(*args, **kwargs), self._timeout, tags=tags, stale=self._stale
        )

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result of this call, in each language (with ``per_user``: the user's own).

        In a transaction it is forgotten again on commit.
        """
        key = self._key(arguments(self._signature, args, kwargs))
        self._cache.delete(key)
        if self._per_language and settings.USE_I18N:
            forget_tag(self._tag_of_translations(key))

    def _key(self, named: dict[str, Any]) -> str:
        if not self._per_user:
            return digest(named)
        context = bound()
        return digest((context.user if context else None, named))

    def _language(self) -> str | None:
        """Return the language that the result may depend on; None for the service's own, and where there is none."""
        if not (self._per_language and settings.USE_I18N):
            return None
        language = (get_language() or "none").lower()  # none: translations are off
        return None if language == settings.LANGUAGE_CODE.lower() else language

    def _tag_of_translations(self, key: str) -> str:
        return f"{self._name}:{key}"

    def _returned(self) -> set[type[Any]]:
        try:
            return types_in(get_type_hints(self.uncached).get("return"))
        except (NameError, TypeError) as error:  # imported for type checkers alone; or no function but a partial
            _log.info("The return annotation of %s can't be read: %s", name_of(self.uncached), error)
            return set()

    def _tags_of(self, named: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
        if callable(self._tags):
            return tuple(self._tags(*args, **kwargs))
        return tuple(tag.format_map(named) if "{" in tag else tag for tag in self._tags)
