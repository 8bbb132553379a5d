"""The keys that verify user tokens: our own where we issue them, else those that the issuer publishes."""

import functools
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from bandstand.conf import get_settings, wire
from bandstand.exceptions import KeySetUnavailable
from bandstand.identity.key_sets import LocalKeySet, RemoteKeySet
from bandstand.identity.keyring import forget_all, kept, key_files, read_public_keys
from bandstand.identity.keys import PublicKey
from bandstand.identity.signed_sets import verify_signed
from bandstand.identity.tokens import KeySet

__all__ = ["KeyFetcher", "prefetch_user_keys", "set_key_fetcher", "user_keys"]

KeyFetcher = Callable[[str], bytes]

_MAX_BYTES: Final = 256 * 1024

_fetcher: KeyFetcher | None = None


def set_key_fetcher(fetch: KeyFetcher) -> None:
    """Set the function that fetches ``BANDSTAND_USER_JWKS_URL`` when it is not a file.

    ``fetch`` gets the URL, has a time-out of its own, and raises when it can't have the bytes.
    """
    global _fetcher  # noqa: PLW0603 - one for the process, set once while it starts
    _fetcher = fetch
    forget_all()


@kept
def user_keys() -> KeySet:
    """Return the keys that verify user tokens: our own where we issue them, else the published ones."""
    files = key_files()
    if wire.USER_KEY_FILE in files:
        file = files[wire.USER_KEY_FILE]
        return LocalKeySet(lambda: file.get().published)
    if wire.USER_JWKS_URL in files:
        return LocalKeySet(files[wire.USER_JWKS_URL].get)
    identity = get_settings().identity
    if not identity.user_jwks_url:
        return LocalKeySet(dict)
    return RemoteKeySet(functools.partial(_fetch, identity.user_jwks_url), interval=identity.jwks_refresh_interval)


def prefetch_user_keys() -> None:
    """Fetch the published keys that verify user tokens, where there are such and they were not fetched yet.

    Raises:
        KeySetUnavailable: they could not be fetched; the first request that needs them tries again.
    """
    keys = user_keys()
    if isinstance(keys, RemoteKeySet):
        keys.prefetch()


def _fetch(url: str) -> Mapping[str, PublicKey]:
    if _fetcher is None:
        raise KeySetUnavailable(f"Nothing can fetch {url}: set_key_fetcher() was not called. Is 'bandstand' installed?")
    content = _fetcher(url)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{url} answered {len(content)} bytes; at most {_MAX_BYTES} are read")
    try:
        verify_signed(content, urlsplit(url).hostname or "")
        return read_public_keys(content)
    except ValueError as error:
        raise ValueError(f"{url} {error}") from error
