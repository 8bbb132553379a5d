from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from pytest_django.fixtures import Settings

from bandstand.cache import ResilientRedisCache
from bandstand.cache import client as clients
from tests.waiting import GUARD

from .server import SERVICE, Valkey

Connect = Callable[..., ResilientRedisCache]


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.close()


@pytest.fixture
def options() -> dict[str, Any]:
    """Tests on limits have their own; the others have more time than the busiest machine takes."""
    return {"timeout": GUARD}


@pytest.fixture
def cache(valkey: Valkey, settings: Settings, options: dict[str, Any]) -> Iterator[Any]:
    """The service's cache, as its own user."""
    if valkey.process is None:
        valkey.start()
    settings.CACHES = {
        "default": {
            "BACKEND": "bandstand.cache.ResilientRedisCache",
            "LOCATION": valkey.url(),
            "KEY_PREFIX": SERVICE,
            "OPTIONS": options,
        }
    }
    clients._clients.clear()
    with valkey.admin() as admin:
        admin.flushall()
    yield caches["default"]
    clients._clients.clear()
