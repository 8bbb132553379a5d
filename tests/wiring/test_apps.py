"""What the rooms need of each other is passed in by the app."""

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.cache.backends.locmem import LocMemCache
from pytest_django import Settings

from bandstand.apps import fetch_keys
from bandstand.client import ServiceClient
from bandstand.conf import wire
from bandstand.discovery import Instance, use_registry
from bandstand.discovery.backends.static import StaticRegistry
from bandstand.exceptions import ConfigurationError, KeySetUnavailable
from bandstand.health import warming
from bandstand.identity import generate_key, key_set
from bandstand.identity.signed_sets import signed
from bandstand.identity.user_keys import user_keys
from bandstand.testing.services import fake_services

URL = "http://user-service/.well-known/jwks.json"
KEYS = {"keys": []}


def test_keys_are_fetched_from_the_service_that_the_url_names() -> None:
    """The host is a name for discovery; nobody need be allowed to call in order to read what is public."""
    with fake_services() as fake:
        fake.on("user-service", "GET", "/.well-known/jwks.json", json=KEYS)
        assert fetch_keys(URL) == b'{"keys":[]}'
    assert wire.SERVICE_TOKEN not in fake.calls[0].headers


def test_keys_are_fetched_for_a_coroutine_too() -> None:
    """Verifying a token in an async view may need the keys."""

    async def verify() -> bytes:
        return fetch_keys(URL)

    with fake_services() as fake:
        fake.on("user-service", "GET", "/.well-known/jwks.json", json=KEYS)
        assert asyncio.run(verify()) == b'{"keys":[]}'


def test_an_issuer_that_is_down_is_one_kind_of_error() -> None:
    """Whatever kept the keys away, the verifier keeps the last good ones on this error."""
    with fake_services() as fake:
        fake.down("user-service")
        with pytest.raises(KeySetUnavailable, match="user-service"):
            fetch_keys(URL)


@pytest.mark.parametrize("url", ["https://login.example.com/jwks", "/keys.json", "http:///keys"])
def test_a_url_that_names_no_service_is_a_fault_of_the_settings(url: str) -> None:
    """Keys come from the platform's own issuer, or from a file."""
    with pytest.raises(ConfigurationError, match="does not name a service"):
        fetch_keys(url)


@pytest.fixture
def published(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """The key set of user-service, signed by it; this service trusts its service key."""
    key = generate_key("user-service")
    files = {"own": key.to_jwk(), "trusted": key_set([key.public])}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
        (tmp_path / name).chmod(0o600)
    before = settings.BANDSTAND
    settings.BANDSTAND = {**before, "SERVICE": "user-service", "IDENTITY": {"SERVICE_KEY_FILE": str(tmp_path / "own")}}
    document = signed(key_set([generate_key("user-service").public]))
    settings.BANDSTAND = {
        **before,
        "IDENTITY": {"USER_JWKS_URL": URL, "TRUSTED_KEYS_FILE": str(tmp_path / "trusted")},
    }
    return document


def test_the_first_request_finds_everything_loaded(published: dict[str, Any]) -> None:
    """Before a process says that it is ready its cache, its calls and the keys of its users have been used once.

    A service that nobody serves yet is one that starts later.
    """
    ServiceClient("starts-later")
    registry = Asked()
    with fake_services() as fake, use_registry(registry), patch.object(LocMemCache, "get") as read:
        keys = fake.on("user-service", "GET", "/.well-known/jwks.json", json=published)
        for step in warming._warm_up._steps.values():
            step()
        assert user_keys().find("of nobody") is None
    assert len(keys.calls) == 1
    assert read.called
    assert {"starts-later", "user-service"} <= registry.asked_for


class Asked(StaticRegistry):
    """A registry that knows one service, and notes who was asked for."""

    def __init__(self) -> None:
        super().__init__("static:user-service=http://127.0.0.1:1")
        self.asked_for: set[str] = set()

    def instances(self, service: str) -> tuple[Instance, ...]:
        self.asked_for.add(service)
        return super().instances(service)
