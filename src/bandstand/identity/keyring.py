"""The keys of this process, as its settings name them."""

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from threading import RLock
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from bandstand.conf import get_settings, wire
from bandstand.exceptions import ConfigurationError
from bandstand.identity.key_sets import LocalKeySet
from bandstand.identity.keys import PrivateKey, PublicKey, parse_private_keys, parse_public_keys
from bandstand.identity.tokens import KeySet
from bandstand.identity.watched import WatchedFile

__all__ = [
    "SigningKeys",
    "forget_all",
    "kept",
    "key_files",
    "load_keys",
    "own_user_keys",
    "read_public_keys",
    "service_keys",
    "trusted_keys",
    "user_key",
]

T = TypeVar("T")

_logger: Final = logging.getLogger(__name__)
_kept: Final[list[Callable[[], None]]] = []
_building = RLock()


class SigningKeys(NamedTuple):
    """The private key that signs now, and the public halves of all that stand in its file."""

    current: PrivateKey
    published: Mapping[str, PublicKey]


def kept(build: Callable[[], T]) -> Callable[[], T]:
    """Keep what ``build`` returns until the settings change, or the process forks (locks do not survive that)."""
    built: tuple[T] | None = None

    def get() -> T:
        nonlocal built
        found = built
        if found is None:
            with _building:  # once, also when a process gets its first requests all at the same time
                found = built = built or (build(),)
        return found[0]

    def forget() -> None:
        nonlocal built
        built = None

    _kept.append(forget)
    return functools.wraps(build)(get)


def service_keys() -> WatchedFile[SigningKeys]:
    """Return the file with the keys that sign this service's tokens.

    Raises:
        ConfigurationError: there is none.
    """
    return _signing(wire.SERVICE_KEY_FILE, "calls other services")


def user_key() -> PrivateKey:
    """Return the key that signs user tokens.

    Raises:
        ConfigurationError: there is none: this service does not issue user tokens.
    """
    return _signing(wire.USER_KEY_FILE, "issues user tokens").get().current


def own_user_keys() -> tuple[PublicKey, ...]:
    """Return the public halves of all keys in the file that holds the key for user tokens.

    Raises:
        ConfigurationError: there is none.
    """
    return tuple(_signing(wire.USER_KEY_FILE, "publishes the keys of user tokens").get().published.values())


@kept
def trusted_keys() -> KeySet:
    """Return the keys of the services that this one knows."""
    file = key_files().get(wire.TRUSTED_KEYS_FILE)
    return LocalKeySet(file.get if file else dict)


@kept
def key_files() -> dict[str, WatchedFile[Any]]:
    """Return the key files that the settings name, by the variable that names each."""
    settings = get_settings()
    identity = settings.identity
    url = urlsplit(identity.user_jwks_url)
    readers: dict[str, tuple[str, Callable[[bytes], Any]]] = {
        wire.SERVICE_KEY_FILE: (identity.service_key_file, functools.partial(_read_signing, service=settings.service)),
        wire.TRUSTED_KEYS_FILE: (
            identity.trusted_keys_file,
            functools.partial(read_public_keys, service_required=True),
        ),
        wire.USER_KEY_FILE: (identity.user_key_file, _read_signing),
        wire.USER_JWKS_URL: (unquote(url.path) if url.scheme == "file" else "", read_public_keys),
    }
    return {name: WatchedFile(path, read, variable=name) for name, (path, read) in readers.items() if path}


def load_keys() -> None:
    """Read every key file that the settings name, so that a process with wrong keys does not start.

    Raises:
        ConfigurationError: with one sentence for each file that is missing or wrong, or holds a development key while
            DEBUG is off.
    """
    faults: list[str] = []
    for file in key_files().values():
        try:
            file.get()
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError(faults)


def _signing(variable: str, deed: str) -> WatchedFile[SigningKeys]:
    file = key_files().get(variable)
    if file is None:
        raise ConfigurationError(
            f"{variable} is not set. A service that {deed} needs a private key in the file it names."
        )
    return file


def _read_signing(content: bytes, *, service: str = "") -> SigningKeys:
    keys = parse_private_keys(content)
    _refuse_for_development(keys)
    for key in keys:
        if service and key.service != service:
            raise ValueError(f"holds a key of {key.service!r}, but this is {service!r}")
    return SigningKeys(keys[0], {key.kid: key.public for key in keys})


def read_public_keys(content: bytes, *, service_required: bool = False) -> Mapping[str, PublicKey]:
    """Return the keys of a JWKS by their ids.

    Raises:
        ValueError: it is no JWKS, or holds a development key while DEBUG is off; the text begins with a verb.
    """
    keys = parse_public_keys(content, service_required=service_required)
    _refuse_for_development(keys.values())
    return keys


def _refuse_for_development(keys: Iterable[PrivateKey | PublicKey]) -> None:
    if django_settings.DEBUG:
        return
    for key in keys:
        if key.is_for_development:
            raise ValueError(f"holds {key.kid!r}, a key made for development, but DEBUG is off; make a new key")


def forget_all() -> None:
    """Discard all kept values, so that each is built again at its next use."""
    for forget in _kept:
        forget()


def _begin_anew() -> None:
    """In a forked child: another thread of the parent may have held a lock that nobody here will release."""
    global _building  # noqa: PLW0603 - as above
    _building = RLock()
    forget_all()


def _forget_changed(*, setting: str, **_: object) -> None:
    if setting in {"BANDSTAND", "DEBUG"}:
        forget_all()


setting_changed.connect(_forget_changed, dispatch_uid="bandstand.identity")
os.register_at_fork(after_in_child=_begin_anew)
