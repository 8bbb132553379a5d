"""The signing keys of a workspace: Ed25519 as JWK (RFC 8037), one file for each service, made once.

A file may hold two keys as a JWKS, while keys change: the first signs, and services publish or trust both.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bandstand.conf import wire
from bandstand.exceptions import WorkspaceError
from bandstand.workspace.rotation import RotationStep, arranged
from bandstand.workspace.runtime.folder import replace_file

__all__ = ["Key", "Keys", "key_set", "keys_in_step", "make_keys", "service_key", "trusted_keys", "user_key"]

Key: TypeAlias = dict[str, str]
Keys: TypeAlias = tuple[Key, ...]

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


def make_keys(
    folder: Path, services: Iterable[str], issuers: Iterable[str], *, step: RotationStep | None = None
) -> None:
    """Make the keys that are missing, and write the set that every service trusts.

    ``issuers`` are the services that issue user tokens. A service that left the workspace leaves the set too. ``step``
    is that of a change of all keys that is under way.

    Raises:
        WorkspaceError: a key is there but can't be read; it is never written over.
    """
    new = folder / "new"
    own = [
        keys_in_step(service_key(folder, service), service_key(new, service), service, "service", step=step)
        for service in services
    ]
    for service in issuers:
        keys_in_step(user_key(folder, service), user_key(new, service), service, "users", step=step)
    replace_file(trusted_keys(folder), key_set(key for keys in own for key in keys))


def keys_in_step(
    path: Path, new: Path, service: str, purpose: str, *, step: RotationStep | None, mark: str = wire.DEVELOPMENT_MARK
) -> Keys:
    """Return the keys at ``path``, the first of which signs, as they are in ``step`` of a change of keys.

    ``new`` is where the next key lies meanwhile. The id of a key that is made begins with ``mark``. What was done
    already is not done again.

    Raises:
        WorkspaceError: a key is there but can't be read; it is never written over.
    """
    keys = _kept(path, service, purpose, mark)
    if step is None or not (step is RotationStep.ACCEPT or new.exists()):
        return keys
    new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    [successor] = _kept(new, service, purpose, mark)
    old = next((key for key in keys if key != successor), None)
    keys = tuple(key for key in arranged(step, old, successor) if key is not None)
    replace_file(path, _json(keys[0] if len(keys) == 1 else {"keys": keys}), durable=True)
    if step is RotationStep.RETIRE:
        new.unlink()
    return keys


def _kept(path: Path, service: str, purpose: str, mark: str) -> Keys:
    """Return the keys at ``path``, one made where there is none."""
    if path.exists():
        return _read(path)
    key = _new_key(service, purpose, mark)
    replace_file(path, _json(key), durable=True)
    return (key,)


def key_set(keys: Iterable[Key]) -> bytes:
    """Return the public halves of ``keys`` as a JWKS."""
    return _json({"keys": [_public(key) for key in keys]})


def _read(path: Path) -> Keys:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, str | list[dict[str, str]]])
        keys = msgspec.convert(content.get("keys", [content]), tuple[Key, ...])
    except msgspec.MsgspecError as error:
        raise WorkspaceError(f"{path} can't be read: {error}.", hint=_HINT) from error
    missing = sorted({name for key in keys for name in _MEMBERS - key.keys()})
    if missing or not keys:
        raise WorkspaceError(f"{path} is no signing key: it lacks {', '.join(missing) or 'keys'}.", hint=_HINT)
    return keys


def _new_key(service: str, purpose: str, mark: str) -> Key:
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


def _public(key: Key) -> Key:
    return {name: value for name, value in key.items() if name != "d"}


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)
