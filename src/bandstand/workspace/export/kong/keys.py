"""The public keys of the tokens of users, in the form that Kong reads."""

from base64 import urlsafe_b64decode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bandstand.workspace.manifest import UserKey

__all__ = ["pem"]


def pem(key: UserKey) -> str:
    """Return the key as PEM (SubjectPublicKeyInfo)."""
    public = Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(f"{key.x}="))
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
