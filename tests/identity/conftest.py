import base64
import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bandstand.identity import PrivateKey, generate_key, key_set, set_key_fetcher
from bandstand.identity import user_keys as user_keys_module


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def secret_of(key: PrivateKey) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(key.d + "="))


def forge(
    header: dict[str, Any],
    payload: Any,
    key: PrivateKey | None = None,
    signature: Callable[[bytes], bytes] | None = None,
) -> str:
    """Write a token by hand, without the code under test."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{encode(json.dumps(header).encode())}.{encode(body)}"
    sign = signature or (secret_of(key).sign if key else lambda _: b"")
    return f"{signed}.{encode(sign(signed.encode()))}"


@dataclass
class World:
    """A service named test-service, the services around it, and the files that hold their keys."""

    folder: Path
    own: PrivateKey = field(default_factory=lambda: generate_key("test-service"))
    caller: PrivateKey = field(default_factory=lambda: generate_key("order-service"))
    stranger: PrivateKey = field(default_factory=lambda: generate_key("order-service"))
    uninvited: PrivateKey = field(default_factory=lambda: generate_key("product-service"))
    users: PrivateKey = field(default_factory=lambda: generate_key("user-service"))
    issuer: PrivateKey = field(default_factory=lambda: generate_key("user-service"))  # its key as a service

    def __post_init__(self) -> None:
        self.write("own.json", self.own.to_jwk())
        self.write("users.json", self.users.to_jwk())
        self.write("trusted.json", key_set(key.public for key in (self.own, self.caller, self.uninvited, self.issuer)))
        self.write("jwks.json", key_set([self.users.public]))

    def write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def setting(self, **identity: Any) -> dict[str, Any]:
        value = {
            "SERVICE_KEY_FILE": self.path("own.json"),
            "TRUSTED_KEYS_FILE": self.path("trusted.json"),
            "ALLOWED_CALLERS": ["order-service"],
            "USER_JWKS_URL": (self.folder / "jwks.json").as_uri(),
            **identity,
        }
        return {"SERVICE": "test-service", "PLATFORM": "tests", "IDENTITY": value}

    def service_header(self, **changes: Any) -> dict[str, Any]:
        return without_none({"typ": "service+jwt", "alg": "EdDSA", "kid": self.caller.kid, **changes})

    def service_claims(self, now: float | None = None, **changes: Any) -> dict[str, Any]:
        now = int(time.time() if now is None else now)
        claims = {"iss": "order-service", "aud": "test-service", "iat": now, "exp": now + 30, "jti": "0123456789abcdef"}
        return without_none({**claims, **changes})

    def service_token(self, key: PrivateKey | None = None, now: float | None = None, **changes: Any) -> str:
        key = key or self.caller
        changes = {"iss": key.service, **changes}
        return forge(self.service_header(kid=key.kid), self.service_claims(now, **changes), key)

    def user_header(self, **changes: Any) -> dict[str, Any]:
        return without_none({"typ": "at+jwt", "alg": "EdDSA", "kid": self.users.kid, **changes})

    def user_claims(self, now: float | None = None, **changes: Any) -> dict[str, Any]:
        now = int(time.time() if now is None else now)
        claims = {"iss": "user-service", "aud": "tests", "iat": now, "exp": now + 900, "jti": "0123456789abcdef"}
        return without_none({**claims, "sub": "u-1", "staff": False, "email": "ann@example.com", **changes})

    def signed_set(self, document: dict[str, Any], key: PrivateKey | None = None, **changes: Any) -> dict[str, Any]:
        """The JWKS with the signature of its issuer, written by hand."""
        key, now = key or self.issuer, int(time.time())
        canonical = json.dumps(document.get("keys"), sort_keys=True, separators=(",", ":")).encode()
        claims = {
            "iss": key.service,
            "aud": "tests",
            "iat": now,
            "exp": now + 600,
            "jti": "0123456789abcdef",
            "keys": hashlib.sha256(canonical).hexdigest(),
        }
        header = {"typ": changes.pop("typ", "key-set+jwt"), "alg": "EdDSA", "kid": key.kid}
        return {**document, "signature": forge(header, without_none({**claims, **changes}), key)}

    def user_token(self, now: float | None = None, **changes: Any) -> str:
        return forge(self.user_header(), self.user_claims(now, **changes), self.users)


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@pytest.fixture(autouse=True)
def fetcher() -> Iterator[None]:
    """What a test says of fetching keys ends with the test."""
    before = user_keys_module._fetcher
    yield
    if before is not None and user_keys_module._fetcher is not before:
        set_key_fetcher(before)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def configured(world: World, settings: Any) -> World:
    """The world, with Django's settings pointing at it."""
    settings.BANDSTAND = world.setting()
    return world


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """No code of this room opens a connection by itself, whatever a token asks for."""
    tried: list[Any] = []

    def refuse(_: socket.socket, address: Any) -> NoReturn:
        tried.append(address)
        raise AssertionError(f"a connection to {address} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield tried
    assert tried == []
