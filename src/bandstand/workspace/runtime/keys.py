"""The signing keys of a workspace: Ed25519 as JWK (RFC 8037), one file for each service, made once."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.runtime.folder import replace_file

__all__ = ["kept_key", "key_set", "make_keys", "service_key", "trusted_keys", "user_key"]

_MEMBERS: Final = frozenset({"kty", "crv", "x", "d", "kid", "service"})
_HINT: Final = "Remove the file: `bandstand up` makes a new key, and tokens of the old one end."


def service_key(folder: Path, service: str) -> Path:
    """Where the private key lies that ``service`` signs its calls with."""
    return folder / f"{service}.json"


def user_key(folder: Path, service: str) -> Path:
    """Where the private key lies that ``service`` signs user tokens with."""
    return folder / f"{service}.users.json"


def trusted_keys(folder: Path) -> Path:
    """Where the public keys of all services lie, as one JWKS."""
    return folder / "trusted.json"


def make_keys(folder: Path, services: Iterable[str], issuers: Iterable[str]) -> None:
    """Make the keys that are missing, and write the set that every service trusts.

    ``issuers`` are the services that issue user tokens. A service that left the workspace leaves the set too.

    Raises:
        WorkspaceError: a key is there but can't be read; it is never written over.
    """
    own = [kept_key(service_key(folder, service), service, "service") for service in services]
    for service in issuers:
        kept_key(user_key(folder, service), service, "users")
    replace_file(trusted_keys(folder), key_set(own))


def kept_key(path: Path, service: str, purpose: str, *, mark: str = wire.DEVELOPMENT_MARK) -> dict[str, str]:
    """Return the key at ``path``, made where there is none; the id of a new one begins with ``mark``.

    Raises:
        WorkspaceError: it is there but can't be read; it is never written over.
    """
    if path.exists():
        return _read(path)
    key = _new_key(service, purpose, mark)
    replace_file(path, _json(key), durable=True)
    return key


def key_set(keys: Iterable[dict[str, str]]) -> bytes:
    """Return the public halves of ``keys`` as a JWKS."""
    return _json({"keys": [_public(key) for key in keys]})


def _read(path: Path) -> dict[str, str]:
    try:
        key: dict[str, str] = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise WorkspaceError(f"{path} can't be read: {error}.", hint=_HINT) from error
    if missing := sorted(_MEMBERS - key.keys()):
        raise WorkspaceError(f"{path} is no signing key: it lacks {', '.join(missing)}.", hint=_HINT)
    return key


def _new_key(service: str, purpose: str, mark: str) -> dict[str, str]:
    private = Ed25519PrivateKey.generate()
    x = _base64url(private.public_key().public_bytes_raw())
    # The key id holds the beginning of the RFC 7638 thumbprint: it tells keys apart without a counter to keep.
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).hexdigest()[:12]
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": x,
        "d": _base64url(private.private_bytes_raw()),
        "kid": f"{mark}{service}-{purpose}-{thumbprint}",
        "service": service,
    }


def _public(key: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in key.items() if name != "d"}


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
