import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any

import pytest

from bandstand.client import AsyncServiceClient, Response, ServiceClient, forget_targets
from bandstand.discovery import MemoryRegistry, use_registry
from tests.waiting import GUARD

from .servers import Behaviour, Server

Call = Callable[..., Response]
HOUR = 3600.0


@pytest.fixture(autouse=True)
def unprejudiced() -> None:
    """What was learnt of a service in one test must not decide what is sent in another."""
    forget_targets()


@pytest.fixture(autouse=True)
def patient(settings: Any) -> None:
    """A call has more time than the busiest machine takes, unless its test is about a limit."""
    settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": {"TIMEOUT": GUARD, "CONNECT_TIMEOUT": GUARD}}


@pytest.fixture
def limits(settings: Any) -> Callable[..., None]:
    """Change settings of the client: ``limits(TIMEOUT=3600)``."""

    def limits(**changed: Any) -> None:
        client = {**settings.BANDSTAND["CLIENT"], **changed}
        settings.BANDSTAND = {**settings.BANDSTAND, "CLIENT": client}

    return limits


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    """Call user-service with one of the two clients: whatever is tested with this holds for both."""
    if request.param == "sync":

        def wait(method: str, path: str = "/x/", **options: Any) -> Response:
            return ServiceClient("user-service").request(method, path, **options)

        yield wait
    else:
        with asyncio.Runner() as runner:

            def run(method: str, path: str = "/x/", **options: Any) -> Response:
                return runner.run(_awaited(method, path, options), context=copy_context())

            yield run


async def _awaited(method: str, path: str, options: dict[str, Any]) -> Response:
    return await AsyncServiceClient("user-service").request(method, path, **options)


@pytest.fixture
def registry() -> Iterator[MemoryRegistry]:
    with use_registry(registry := MemoryRegistry({"user-service": []})):
        yield registry


@pytest.fixture
def serve(registry: MemoryRegistry) -> Iterator[Callable[..., list[Server]]]:
    """Start one instance of user-service for each behaviour given."""
    with ExitStack() as stack:

        def serve(*behaviours: Behaviour) -> list[Server]:
            servers = [stack.enter_context(Server(behave)) for behave in behaviours]
            registry.set("user-service", [server.url for server in servers])
            return servers

        yield serve
