import asyncio
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from bandstand.client import AsyncServiceClient, Response, ServiceClient

Call = Callable[..., Response]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Iterator[Call]:
    """Make a call with one of the two clients: whatever is tested with this holds for both."""
    if request.param == "sync":

        def wait(service: str, method: str, path: str, **options: Any) -> Response:
            return ServiceClient(service).request(method, path, **options)

        yield wait
    else:
        with asyncio.Runner() as runner:

            def run(service: str, method: str, path: str, **options: Any) -> Response:
                # The context that is bound now, and not when the runner was made.
                return runner.run(_awaited(service, method, path, options), context=copy_context())

            yield run


async def _awaited(service: str, method: str, path: str, options: dict[str, Any]) -> Response:
    return await AsyncServiceClient(service).request(method, path, **options)
