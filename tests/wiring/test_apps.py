"""What the rooms need of each other is passed in by the app."""

import asyncio

import pytest

from bandstand.apps import fetch_keys
from bandstand.conf import wire
from bandstand.exceptions import ConfigurationError, KeySetUnavailable
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
