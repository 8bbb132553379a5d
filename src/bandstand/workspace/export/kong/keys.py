"""The public keys of the tokens of users, in the form that Kong reads."""

import binascii
from base64 import urlsafe_b64decode
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bandstand.exceptions import WorkspaceError

__all__ = ["UserKey", "read_user_keys"]


class UserKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key by its id, as PEM (SubjectPublicKeyInfo)."""

    key_id: str
    pem: str


class _Jwk(msgspec.Struct, frozen=True):
    kid: Annotated[str, msgspec.Meta(min_length=1)]
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str


class _Jwks(msgspec.Struct, frozen=True):
    keys: Annotated[tuple[_Jwk, ...], msgspec.Meta(min_length=1)]


def read_user_keys(jwks: bytes) -> tuple[UserKey, ...]:
    """Read the public keys of a JWKS, as the service that issues tokens publishes it (RFC 7517, RFC 8037).

    Raises:
        WorkspaceError: it is no set of Ed25519 public keys.
    """
    try:
        found = msgspec.json.decode(jwks, type=_Jwks)
        return tuple(UserKey(key_id=key.kid, pem=_pem(key.x)) for key in found.keys)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        hint = "Fetch it from /.well-known/jwks.json of the service that issues the tokens."
        raise WorkspaceError(f"This is no set of Ed25519 public keys: {error}.", hint=hint) from error


def _pem(x: str) -> str:
    key = Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(x + "=" * (-len(x) % 4)))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
