"""Tags: one write forgets everything that was kept under them, without a list of keys and without ``KEYS``.

Each tag has a version, a random word in the cache. A value remembers the versions that held when its computation
began; when one has changed, or is gone, the value is a miss. So what was computed from data that a concurrent
invalidation made old is never served, and neither is anything when Redis has evicted a version.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.cache import caches
from django.db import DEFAULT_DB_ALIAS, transaction

from bandstand.conf import get_settings

__all__ = ["current_versions", "invalidate_tag", "make_versions", "tag_key"]

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


def now_and_on_commit(forget: Any, *, using: str = DEFAULT_DB_ALIAS) -> None:
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
    for tag in missing:
        cache.add(tag_key(tag), secrets.token_hex(8), _LIFETIME)
    # Read back: another process may have been first, and Redis may have kept nothing at all.
    return {**known, **current_versions(cache, missing)} if missing else dict(known)


def _renew(tag: str) -> None:
    caches[get_settings().cache.alias].set(tag_key(tag), secrets.token_hex(8), _LIFETIME)
