"""Ed25519 keys as JSON Web Keys (RFC 7517, RFC 8037)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bandstand.conf import wire
from bandstand.structs import build_type

__all__ = ["KEY_ID", "PrivateKey", "PublicKey", "generate_key", "key_set", "parse_private_keys", "parse_public_keys"]

KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""What a key id may look like: nothing that a path, a query or a URL could be made of."""

_KEY_BYTES: Final = 32
_MAX_KEYS: Final = 1000


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    kid: str
    service: str
    x: str

    @property
    def is_for_development(self) -> bool:
        """Whether the key carries the mark of keys that were made for development."""
        return self.kid.startswith(wire.DEVELOPMENT_MARK)


class PublicKey(_Key, frozen=True, kw_only=True):
    """A key that verifies the tokens of ``service``; ``x`` is the key itself, base64url as in a JWK."""

    def to_jwk(self) -> dict[str, str]:
        """Return the key as a JWK."""
        owner = {"service": self.service} if self.service else {}
        return {"kty": "OKP", "crv": "Ed25519", "x": self.x, "kid": self.kid, "use": "sig", "alg": "EdDSA", **owner}

    def verifying(self) -> Ed25519PublicKey:
        """Return the key in the form that cryptography uses."""
        return Ed25519PublicKey.from_public_bytes(_decode(self.x))


class PrivateKey(_Key, frozen=True, kw_only=True):
    """A key that signs the tokens of ``service``. Its ``repr`` shows no secret."""

    d: str

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r}, service={self.service!r}, d='…')"

    @property
    def public(self) -> PublicKey:
        """The half that may be published."""
        return PublicKey(kid=self.kid, service=self.service, x=self.x)

    def to_jwk(self) -> dict[str, str]:
        """Return the key as a JWK, with the secret."""
        return {**self.public.to_jwk(), "d": self.d}

    def signing(self) -> Ed25519PrivateKey:
        """Return the key in the form that cryptography uses."""
        return Ed25519PrivateKey.from_private_bytes(_decode(self.d))


class _Jwk(msgspec.Struct, kw_only=True):
    kty: str = ""
    crv: str = ""
    kid: str = ""
    service: str = ""
    x: str = ""
    d: str | None = None


class _JwkSet(msgspec.Struct, kw_only=True):
    keys: list[_Jwk]


build_type(_Jwk)
build_type(_JwkSet)


def generate_key(service: str = "", *, kid_prefix: str = "") -> PrivateKey:
    """Return a new key for ``service``. Its id is ``kid_prefix`` and the key's thumbprint (RFC 7638).

    Give ``bandstand.conf.wire.DEVELOPMENT_MARK`` as the prefix of a key that must never sign in production.
    """
    secret = Ed25519PrivateKey.generate()
    x = _encode(secret.public_key().public_bytes_raw())
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return PrivateKey(kid=kid_prefix + _encode(thumbprint), service=service, x=x, d=_encode(secret.private_bytes_raw()))


def key_set(keys: Iterable[PublicKey]) -> dict[str, list[dict[str, str]]]:
    """Return public keys as a JWKS."""
    return {"keys": [key.to_jwk() for key in keys]}


def parse_private_keys(content: bytes) -> tuple[PrivateKey, ...]:
    """Read a private JWK, or a JWKS of several: the first signs, the public halves of all are published.

    Raises:
        ValueError: the text says what is wrong with the content, without showing any of it.
    """
    keys = tuple(_private(jwk) for jwk in _read(content))
    _refuse_repeated_ids(keys)
    return keys


def parse_public_keys(content: bytes, *, service_required: bool = False) -> dict[str, PublicKey]:
    """Read a JWKS into keys by key id. Keys of other kinds than Ed25519 are passed over, as RFC 7517 asks.

    Raises:
        ValueError: the content is no JWKS, holds no usable key, holds a private key, an id twice, or, with
            ``service_required``, a key that does not say whose it is.
    """
    keys = [_public(jwk) for jwk in _read(content) if (jwk.kty, jwk.crv) == ("OKP", "Ed25519")]
    if not keys:
        raise ValueError("holds no Ed25519 key")
    for key in keys:
        if service_required and not key.service:
            raise ValueError(f"holds the key {key.kid!r} without the member service, which says whose key it is")
    _refuse_repeated_ids(keys)
    return {key.kid: key for key in keys}


def _read(content: bytes) -> list[_Jwk]:
    try:
        document: Any = msgspec.json.decode(content)
        jwks = msgspec.convert(document, _JwkSet).keys if _is_set(document) else [msgspec.convert(document, _Jwk)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The error names a place or a type, never a value.
        raise ValueError(f"is not a JSON Web Key or key set: {error}") from None
    if not jwks:
        raise ValueError("holds no key")
    if len(jwks) > _MAX_KEYS:
        raise ValueError(f"holds {len(jwks)} keys; at most {_MAX_KEYS} are read")
    return jwks


def _is_set(document: Any) -> bool:
    return isinstance(document, dict) and "keys" in document


def _private(jwk: _Jwk) -> PrivateKey:
    public = _public(msgspec.structs.replace(jwk, d=None))
    if (jwk.kty, jwk.crv) != ("OKP", "Ed25519") or jwk.d is None:
        raise ValueError(f"holds {jwk.kid!r}, which is not a private Ed25519 key (kty OKP, crv Ed25519, d)")
    key = PrivateKey(kid=public.kid, service=public.service, x=public.x, d=jwk.d)
    if key.signing().public_key().public_bytes_raw() != _decode(key.x):
        raise ValueError(f"holds {key.kid!r}, whose x is not the public half of its d")
    return key


def _public(jwk: _Jwk) -> PublicKey:
    if not KEY_ID.fullmatch(jwk.kid):
        raise ValueError("holds a key whose kid is not 1 to 128 letters, digits, dots, underscores or hyphens")
    if jwk.d is not None:
        raise ValueError(f"holds the private key {jwk.kid!r}; only public keys belong here, so replace that key now")
    _decode(jwk.x)
    return PublicKey(kid=jwk.kid, service=jwk.service, x=jwk.x)


def _refuse_repeated_ids(keys: Iterable[PublicKey | PrivateKey]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key.kid in seen:
            raise ValueError(f"holds two keys with the id {key.kid!r}")
        seen.add(key.kid)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ValueError("holds a key that is not 32 bytes in base64url")
    return raw
