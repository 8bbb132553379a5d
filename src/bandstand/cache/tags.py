"""Tags: one write forgets everything that was kept under them, without a list of keys and without ``KEYS``.

Each tag has a version, a random word in the cache. A value remembers the versions that held when its computation
began; when one has changed, or is gone, the value is a miss. So what was computed from data that a concurrent
invalidation made old is never served, and neither is anything when Redis has evicted a version.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from django.core.cache import caches
from django.db import DEFAULT_DB_ALIAS, transaction

from bandstand.conf import get_settings
from bandstand.exceptions import CacheUnavailable

__all__ = ["current_versions", "forget_tag", "invalidate_tag", "invalidate_tag_now", "make_versions", "tag_key"]

_LIFETIME: Final = 30 * 24 * 3600  # seconds: longer than any value may be kept


def tag_key(tag: str) -> str:
    """Return the cache key of a tag's version."""
    return f"tag:{tag}"


def invalidate_tag(tag: str, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Forget everything that was kept under ``tag``, in all processes of this service.

    Inside a transaction it happens twice: now, and again when the transaction of the database ``using`` commits, since
    until then others compute from the data as they were.
    """
    now_and_on_commit(lambda: _renew(tag), using=using)


def invalidate_tag_now(tag: str) -> None:
    """Forget everything that was kept under ``tag`` and be sure of it, whatever transaction is open.

    For what was kept of data that stand elsewhere, in an event's handler or another place that can come again.

    Raises:
        CacheUnavailable: it was not done, since Redis is away or refuses. This process tries it again before it next
            asks Redis for anything, but it may end before.
    """
    if not _renew(tag):
        raise CacheUnavailable(f"The cache could not be told that what it keeps under {tag!r} is old. Try again later.")


def forget_tag(tag: str) -> None:
    """Forget everything that was kept under ``tag``, as :func:`invalidate_tag` does, and the tag with it.

    For tags in large numbers: the tagged values become misses, and no entry of the tag stays in the cache.
    """
    now_and_on_commit(lambda: caches[get_settings().cache.alias].delete(tag_key(tag)))


def now_and_on_commit(forget: Callable[[], object], *, using: str = DEFAULT_DB_ALIAS) -> None:
    """Call ``forget`` now, and again when the running transaction commits."""
    forget()
    if transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(forget, using=using, robust=True)


def current_versions(cache: Any, tags: Iterable[str]) -> dict[str, str]:
    """Return the versions of those tags that have one."""
    keys = {tag_key(tag): tag for tag in tags}
    return {keys[key]: version for key, version in cache.get_many(list(keys)).items()} if keys else {}


def make_versions(cache: Any, tags: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of all ``tags``, made where there is none yet."""
    missing = [tag for tag in tags if tag not in known]
    if not missing:
        return dict(known)
    # All in one message, so without looking whether another process has just been first: what it then keeps under the
    # version that is overwritten here is a miss.
    cache.set_many({tag_key(tag): secrets.token_hex(8) for tag in missing}, _LIFETIME)
    # Read back: another process may have come after, and Redis may have kept nothing at all.
    return {**known, **current_versions(cache, missing)}


def _renew(tag: str) -> bool:
    """Give ``tag`` another version; say whether the cache has it."""
    cache = caches[get_settings().cache.alias]
    return not cache.set_many({tag_key(tag): secrets.token_hex(8)}, _LIFETIME)
