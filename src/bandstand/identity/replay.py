"""A token that was believed once on an unsafe method is not believed again, where the callee asks for that."""

import time

from django.core.cache import cache

from bandstand.conf import get_settings
from bandstand.identity.tokens import Claims

__all__ = ["afirst_use", "first_use"]


def first_use(claims: Claims) -> bool:
    """Say whether this token was never seen before; a cache that can't say counts as seen."""
    return cache.add(_key(claims), 1, timeout=_lifetime(claims))


async def afirst_use(claims: Claims) -> bool:
    """Say the same as :func:`first_use`."""
    return await cache.aadd(_key(claims), 1, timeout=_lifetime(claims))


def _key(claims: Claims) -> str:
    return f"bandstand:used-token:{claims.aud}:{claims.iss}:{claims.jti}"


def _lifetime(claims: Claims) -> int:
    """Seconds for which the token could still be believed."""
    return max(1, claims.exp + get_settings().identity.leeway - int(time.time()))
